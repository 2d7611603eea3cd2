//! Arbitrary programs, as wild as the types allow.

use bytes::Bytes;
use packwright_packet::defs::*;
use packwright_packet::operand::*;
use packwright_packet::packet::{OriginId, Packet, SramRange, Token};
use packwright_packet::program::*;
use packwright_packet::spelling::Spelled;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Numbers of every magnitude, small and round ones often.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, 0..2048u64, (0..4096u64).prop_map(|n| n * 64), any::<u64>()]
}

fn number32() -> impl Strategy<Value = u32> {
    number().prop_map(|n| n as u32)
}

fn affine() -> impl Strategy<Value = Affine> {
    let term = option::weighted(0.2, (any::<u8>().prop_map(Reg), number()));
    (number(), term).prop_map(|(base, term)| Affine { base, term })
}

fn spelled<T: Spelled + std::fmt::Debug>() -> impl Strategy<Value = T> {
    select(T::ALL)
}

fn float() -> impl Strategy<Value = f32> {
    prop_oneof![Just(1.0), Just(-0.0f32), any::<u32>().prop_map(f32::from_bits)]
        .prop_filter("equality of programs cannot see NaN", |value| !value.is_nan())
}

fn view() -> impl Strategy<Value = View> {
    let step = option::of(number32());
    (spelled::<Elem>(), affine(), number32(), step).prop_map(|(elem, addr, pitch, step)| {
        View { elem, addr, pitch, step: step.unwrap_or(elem.bytes()) }
    })
}

fn maybe_view() -> impl Strategy<Value = Option<View>> {
    option::of(view())
}

fn dram() -> impl Strategy<Value = DramRef> {
    (any::<u16>(), affine())
        .prop_map(|(region, offset)| DramRef { region: RegionId(region), offset })
}

fn block() -> impl Strategy<Value = Block> {
    let dimension = prop_oneof![
        Just((Affine::constant(1), 0, 0)),
        (affine(), number(), number32())
    ];
    (affine(), dimension.clone(), dimension.clone(), dimension).prop_map(|(bytes, a, b, c)| Block {
        count: [a.0, b.0, c.0],
        bytes,
        dram: [a.1, b.1, c.1],
        sram: [a.2, b.2, c.2],
    })
}

fn matmul() -> impl Strategy<Value = Command> {
    let extents = (affine(), affine(), affine(), option::of(affine()));
    let operands = (view(), view(), spelled::<Hold>(), maybe_view(), maybe_view());
    let epilogue = (float(), maybe_view(), spelled::<UnaryFn>(), maybe_view(), maybe_view());
    let rest = (any::<bool>(), any::<bool>(), view(), float());
    (extents, operands, epilogue, rest).prop_map(|(extents, operands, epilogue, rest)| {
        let (m, n, k, group) = extents;
        let (a, b, hold, a_scale, b_scale) = operands;
        let (alpha, bias, activation, residual, acc) = epilogue;
        let (start, finish, out, out_scale) = rest;
        let group = group.unwrap_or(k);
        Command::Matmul(Matmul {
            m, n, k, a, b, hold, group, a_scale, b_scale, alpha, bias, activation, residual, acc,
            start, finish, out, out_scale,
        })
    })
}

fn transfer() -> impl Strategy<Value = Command> {
    prop_oneof![
        (affine(), dram(), block())
            .prop_map(|(dst, src, block)| Command::Load(Load { dst, src, block })),
        (affine(), dram(), block())
            .prop_map(|(src, dst, block)| Command::Store(Store { dst, src, block })),
        (affine(), number32(), dram(), number32(), number(), number(), view(), affine()).prop_map(
            |(dst, dst_pitch, table, row_bytes, row_pitch, table_rows, index, count)| {
                Command::Gather(Gather {
                    dst, dst_pitch, table, row_bytes, row_pitch, table_rows, index, count,
                })
            }
        ),
    ]
}

fn elementwise() -> impl Strategy<Value = Command> {
    let shape = || (affine(), affine());
    prop_oneof![
        (shape(), spelled::<UnaryFn>(), view(), view()).prop_map(|((rows, cols), func, src, dst)| {
            Command::Unary(Unary { rows, cols, func, src, dst })
        }),
        (shape(), spelled::<BinaryFn>(), view(), view(), view()).prop_map(
            |((rows, cols), func, a, b, dst)| Command::Binary(Binary { rows, cols, func, a, b, dst })
        ),
        (shape(), view(), view(), view(), view()).prop_map(|((rows, cols), cond, a, b, dst)| {
            Command::Select(Select { rows, cols, cond, a, b, dst })
        }),
        (shape(), float(), view())
            .prop_map(|((rows, cols), value, dst)| Command::Fill(Fill { rows, cols, value, dst })),
        (shape(), view(), view())
            .prop_map(|((rows, cols), src, dst)| Command::Copy(Copy { rows, cols, src, dst })),
        (shape(), view(), view(), number32(), view()).prop_map(
            |((rows, cols), index, table, table_rows, dst)| {
                Command::Lookup(Lookup { rows, cols, index, table, table_rows, dst })
            }
        ),
    ]
}

fn by_row() -> impl Strategy<Value = Command> {
    let shape = || (affine(), affine());
    prop_oneof![
        (shape(), spelled::<NormKind>(), float(), view(), maybe_view(), maybe_view(), view())
            .prop_map(|((rows, cols), kind, eps, src, gamma, beta, dst)| {
                Command::Norm(Norm { rows, cols, kind, eps, src, gamma, beta, dst })
            }),
        (
            shape(), view(), float(), maybe_view(), option::of(affine()), maybe_view(), view(),
            maybe_view()
        )
            .prop_map(|((rows, cols), src, scale, mask, causal, col_scale, dst, dst_scale)| {
                Command::Softmax(Softmax {
                    rows, cols, src, scale, mask, causal, col_scale, dst, dst_scale,
                })
            }),
        (shape(), view(), view(), option::of(affine()), maybe_view(), float()).prop_map(
            |((rows, cols), src, dst, group, dst_scale, scale)| {
                let group = group.unwrap_or(cols);
                Command::Quantize(Quantize { rows, cols, src, dst, group, dst_scale, scale })
            }
        ),
        (shape(), view(), view(), maybe_view(), view()).prop_map(
            |((rows, cols), src, scale, addend, dst)| {
                Command::Dequantize(Dequantize { rows, cols, src, scale, addend, dst })
            }
        ),
        (shape(), spelled::<RotaryLayout>(), view(), view(), view(), view()).prop_map(
            |((rows, cols), layout, src, cos, sin, dst)| {
                Command::Rotary(Rotary { rows, cols, layout, src, cos, sin, dst })
            }
        ),
        (shape(), spelled::<ReduceKind>(), view(), view()).prop_map(
            |((rows, cols), kind, src, dst)| Command::Reduce(Reduce { rows, cols, kind, src, dst })
        ),
    ]
}

/// Any command.
pub fn command() -> impl Strategy<Value = Command> {
    prop_oneof![transfer(), matmul(), elementwise(), by_row()]
}

fn tokens() -> impl Strategy<Value = Vec<Token>> {
    vec(prop_oneof![0..300u32, any::<u32>()].prop_map(Token), 0..5)
}

/// Any packet.
pub fn packet() -> impl Strategy<Value = Packet> {
    let range = (number32(), number32()).prop_map(|(addr, bytes)| SramRange { addr, bytes });
    let lists = (tokens(), tokens(), vec(range, 0..5), vec(command(), 0..5));
    (number32(), any::<u8>(), lists).prop_map(|(origin, priority, lists)| {
        let (waits, signals, frees, commands) = lists;
        Packet { origin: OriginId(origin), priority, waits, signals, frees, commands }
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.]{0,8}", any::<String>()]
}

fn pairs() -> impl Strategy<Value = Vec<(String, u64)>> {
    vec((name(), number()), 0..3)
}

fn region() -> impl Strategy<Value = Region> {
    (name(), spelled::<RegionKind>(), number(), number(), option::of(number())).prop_map(
        |(name, kind, address, bytes, constant_offset)| {
            Region { name, kind, address, bytes, constant_offset }
        },
    )
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    let port = (name(), spelled::<Elem>(), vec(number(), 0..4), any::<u16>());
    let port = port.prop_map(|(name, elem, shape, region)| {
        Port { name, elem, shape, region: RegionId(region) }
    });
    vec(port, 0..3)
}

fn facts() -> impl Strategy<Value = Facts> {
    (number(), number(), number(), number()).prop_map(|(parameters, macs, weight_bytes, sram_peak)| {
        Facts { parameters, macs, weight_bytes, sram_peak }
    })
}

fn bound() -> impl Strategy<Value = Bound> {
    let seconds = any::<f64>().prop_filter("no NaN", |value| !value.is_nan());
    (number(), number(), seconds, name(), pairs()).prop_map(
        |(dram_bytes, attainable_dram_bytes, seconds, binding_term, terms)| {
            Bound { dram_bytes, attainable_dram_bytes, seconds, binding_term, terms }
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let register = (name(), number()).prop_map(|(name, max)| Register { name, max });
    let head = (name(), pairs(), vec(register, 0..3), vec(region(), 0..4), ports(), ports());
    (head, vec(packet(), 0..4), facts(), bound()).prop_map(|(head, packets, facts, bound)| {
        let (name, binding, registers, regions, inputs, outputs) = head;
        Entry { name, binding, registers, regions, inputs, outputs, packets, facts, bound }
    })
}

fn constants() -> impl Strategy<Value = Constants> {
    prop_oneof![
        number().prop_map(|bytes| Constants::Absent { bytes }),
        vec(any::<u8>(), 0..100).prop_map(|bytes| Constants::Present(Bytes::from(bytes))),
        vec(any::<u8>(), 4090..4110).prop_map(|bytes| Constants::Present(Bytes::from(bytes))),
    ]
}

/// Any program.
pub fn program() -> impl Strategy<Value = Program> {
    let origin = (name(), name(), vec(name(), 0..3))
        .prop_map(|(layer, what, nodes)| Origin { layer, what, nodes });
    let words = (name(), name(), name(), name());
    (words, vec(origin, 0..3), vec(entry(), 0..3), constants()).prop_map(
        |((model, target_toml, precision, tool), origins, entries, constants)| Program {
            model, target_toml, precision, tool, origins, entries, constants,
        },
    )
}
