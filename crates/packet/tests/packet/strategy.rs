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
fn number() -> BoxedStrategy<u64> {
    prop_oneof![
        0..4u64,
        0..2048u64,
        (0..4096u64).prop_map(|n| n * 64),
        any::<u64>()
    ]
    .boxed()
}

fn number32() -> BoxedStrategy<u32> {
    number().prop_map(|n| n as u32).boxed()
}

fn affine() -> BoxedStrategy<Affine> {
    let term = option::weighted(0.2, (any::<u8>().prop_map(Reg), number()));
    (number(), term)
        .prop_map(|(base, term)| Affine { base, term })
        .boxed()
}

fn spelled<T: Spelled + std::fmt::Debug>() -> BoxedStrategy<T> {
    select(T::ALL).boxed()
}

fn float() -> BoxedStrategy<f32> {
    prop_oneof![
        Just(1.0),
        Just(-0.0f32),
        any::<u32>().prop_map(f32::from_bits)
    ]
    .prop_filter("equality of programs cannot see NaN", |value| {
        !value.is_nan()
    })
    .boxed()
}

fn view() -> BoxedStrategy<View> {
    let step = option::of(number32());
    (spelled::<Elem>(), affine(), number32(), step)
        .prop_map(|(elem, addr, pitch, step)| View {
            elem,
            addr,
            pitch,
            step: step.unwrap_or(elem.bytes()),
        })
        .boxed()
}

fn maybe_view() -> BoxedStrategy<Option<View>> {
    option::of(view()).boxed()
}

fn dram() -> BoxedStrategy<DramRef> {
    (any::<u16>(), affine())
        .prop_map(|(region, offset)| DramRef {
            region: RegionId(region),
            offset,
        })
        .boxed()
}

fn block() -> BoxedStrategy<Block> {
    let dimension = prop_oneof![
        Just((Affine::constant(1), 0, 0)),
        (affine(), number(), number32())
    ];
    (affine(), dimension.clone(), dimension.clone(), dimension)
        .prop_map(|(bytes, a, b, c)| Block {
            count: [a.0, b.0, c.0],
            bytes,
            dram: [a.1, b.1, c.1],
            sram: [a.2, b.2, c.2],
        })
        .boxed()
}

fn matmul() -> BoxedStrategy<Command> {
    let extents = (affine(), affine(), affine(), option::of(affine()));
    let operands = (
        view(),
        view(),
        spelled::<Hold>(),
        maybe_view(),
        maybe_view(),
        (number32(), option::of(affine()), maybe_view(), maybe_view()),
    );
    let epilogue = (
        float(),
        maybe_view(),
        spelled::<UnaryFn>(),
        maybe_view(),
        maybe_view(),
    );
    let rest = (any::<bool>(), any::<bool>(), view(), float(), any::<i8>());
    (extents, operands, epilogue, rest)
        .prop_map(|(extents, operands, epilogue, rest)| {
            let (m, n, k, group) = extents;
            let (a, b, hold, a_scale, b_scale, (b_bits, b_group, b_step, b_zero)) = operands;
            let (alpha, bias, activation, residual, acc) = epilogue;
            let (start, finish, out, out_scale, a_zero) = rest;
            let group = group.unwrap_or(k);
            Command::Matmul(Matmul {
                m,
                n,
                k,
                a,
                b,
                hold,
                group,
                a_scale,
                a_zero,
                b_bits,
                b_group: b_group.unwrap_or(k),
                b_step,
                b_zero,
                b_scale,
                alpha,
                bias,
                activation,
                residual,
                acc,
                start,
                finish,
                out,
                out_scale,
            })
        })
        .boxed()
}

fn transfer() -> BoxedStrategy<Command> {
    prop_oneof![
        (affine(), dram(), block()).prop_map(|(dst, src, block)| Command::Load(Load {
            dst,
            src,
            block
        })),
        (affine(), dram(), block()).prop_map(|(src, dst, block)| Command::Store(Store {
            dst,
            src,
            block
        })),
        (
            affine(),
            number32(),
            dram(),
            number32(),
            number(),
            number(),
            view(),
            affine()
        )
            .prop_map(
                |(dst, dst_pitch, table, row_bytes, row_pitch, table_rows, index, count)| {
                    Command::Gather(Gather {
                        dst,
                        dst_pitch,
                        table,
                        row_bytes,
                        row_pitch,
                        table_rows,
                        index,
                        count,
                    })
                }
            ),
    ]
    .boxed()
}

fn elementwise() -> BoxedStrategy<Command> {
    let shape = || (affine(), affine());
    prop_oneof![
        (shape(), spelled::<UnaryFn>(), view(), view()).prop_map(
            |((rows, cols), func, src, dst)| {
                Command::Unary(Unary {
                    rows,
                    cols,
                    func,
                    src,
                    dst,
                })
            }
        ),
        (shape(), spelled::<BinaryFn>(), view(), view(), view()).prop_map(
            |((rows, cols), func, a, b, dst)| Command::Binary(Binary {
                rows,
                cols,
                func,
                a,
                b,
                dst
            })
        ),
        (shape(), view(), view(), view(), view()).prop_map(|((rows, cols), cond, a, b, dst)| {
            Command::Select(Select {
                rows,
                cols,
                cond,
                a,
                b,
                dst,
            })
        }),
        (shape(), float(), view(), float()).prop_map(|((rows, cols), value, dst, step)| {
            Command::Fill(Fill {
                rows,
                cols,
                value,
                dst,
                step,
            })
        }),
        (shape(), view(), view()).prop_map(|((rows, cols), src, dst)| Command::Sort(Sort {
            rows,
            cols,
            src,
            dst
        })),
        (shape(), view(), view(), view(), number32()).prop_map(
            |((rows, cols), index, src, table, table_rows)| {
                Command::Scatter(Scatter {
                    rows,
                    cols,
                    index,
                    src,
                    table,
                    table_rows,
                })
            }
        ),
        (shape(), view(), view()).prop_map(|((rows, cols), src, dst)| Command::Copy(Copy {
            rows,
            cols,
            src,
            dst
        })),
        (shape(), view(), view(), number32(), view()).prop_map(
            |((rows, cols), index, table, table_rows, dst)| {
                Command::Lookup(Lookup {
                    rows,
                    cols,
                    index,
                    table,
                    table_rows,
                    dst,
                })
            }
        ),
    ]
    .boxed()
}

fn by_row() -> BoxedStrategy<Command> {
    let shape = || (affine(), affine());
    prop_oneof![
        (
            shape(),
            spelled::<NormKind>(),
            float(),
            view(),
            maybe_view(),
            maybe_view(),
            view()
        )
            .prop_map(|((rows, cols), kind, eps, src, gamma, beta, dst)| {
                Command::Norm(Norm {
                    rows,
                    cols,
                    kind,
                    eps,
                    src,
                    gamma,
                    beta,
                    dst,
                })
            }),
        (
            shape(),
            view(),
            float(),
            (maybe_view(), maybe_view()),
            (option::of(affine()), option::of(affine()), affine()),
            maybe_view(),
            view(),
            maybe_view(),
            maybe_view()
        )
            .prop_map(
                |((rows, cols), src, scale, masks, sight, col_scale, dst, dst_scale, log_sum)| {
                    let ((mask, row_mask), (causal, window, always)) = (masks, sight);
                    Command::Softmax(Softmax {
                        rows,
                        cols,
                        src,
                        scale,
                        mask,
                        row_mask,
                        causal,
                        window,
                        always,
                        col_scale,
                        dst,
                        dst_scale,
                        log_sum,
                    })
                }
            ),
        (
            shape(),
            view(),
            view(),
            option::of(affine()),
            maybe_view(),
            float(),
            option::of(any::<i8>())
        )
            .prop_map(|((rows, cols), src, dst, group, dst_scale, scale, zero)| {
                let group = group.unwrap_or(cols);
                Command::Quantize(Quantize {
                    rows,
                    cols,
                    src,
                    dst,
                    group,
                    dst_scale,
                    scale,
                    zero,
                })
            }),
        (shape(), view(), view(), maybe_view(), view()).prop_map(
            |((rows, cols), src, scale, addend, dst)| {
                Command::Dequantize(Dequantize {
                    rows,
                    cols,
                    src,
                    scale,
                    addend,
                    dst,
                })
            }
        ),
        (
            shape(),
            spelled::<RotaryLayout>(),
            view(),
            view(),
            view(),
            view()
        )
            .prop_map(|((rows, cols), layout, src, cos, sin, dst)| {
                Command::Rotary(Rotary {
                    rows,
                    cols,
                    layout,
                    src,
                    cos,
                    sin,
                    dst,
                })
            }),
        (shape(), spelled::<ReduceKind>(), view(), view()).prop_map(
            |((rows, cols), kind, src, dst)| Command::Reduce(Reduce {
                rows,
                cols,
                kind,
                src,
                dst
            })
        ),
        (shape(), view(), view()).prop_map(|((rows, cols), src, dst)| {
            Command::Scan(Scan {
                rows,
                cols,
                src,
                dst,
            })
        }),
    ]
    .boxed()
}

/// Any command.
pub fn command() -> BoxedStrategy<Command> {
    prop_oneof![transfer(), matmul(), elementwise(), by_row()].boxed()
}

fn tokens() -> BoxedStrategy<Vec<Token>> {
    vec(prop_oneof![0..300u32, any::<u32>()].prop_map(Token), 0..5).boxed()
}

/// Any packet.
pub fn packet() -> BoxedStrategy<Packet> {
    let range = (number32(), number32()).prop_map(|(addr, bytes)| SramRange { addr, bytes });
    let lists = (tokens(), tokens(), vec(range, 0..5), vec(command(), 0..5));
    (number32(), any::<u8>(), lists)
        .prop_map(|(origin, priority, lists)| {
            let (waits, signals, frees, commands) = lists;
            Packet {
                origin: OriginId(origin),
                priority,
                waits,
                signals,
                frees,
                commands,
            }
        })
        .boxed()
}

fn name() -> BoxedStrategy<String> {
    prop_oneof!["[a-z.]{0,8}", any::<String>()].boxed()
}

fn pairs() -> BoxedStrategy<Vec<(String, u64)>> {
    vec((name(), number()), 0..3).boxed()
}

fn region() -> BoxedStrategy<Region> {
    (
        name(),
        spelled::<RegionKind>(),
        number(),
        number(),
        option::of(number()),
    )
        .prop_map(|(name, kind, address, bytes, constant_offset)| Region {
            name,
            kind,
            address,
            bytes,
            constant_offset,
        })
        .boxed()
}

fn ports() -> BoxedStrategy<Vec<Port>> {
    let port = (name(), spelled::<Elem>(), vec(number(), 0..4), any::<u16>());
    let port = port.prop_map(|(name, elem, shape, region)| Port {
        name,
        elem,
        shape,
        region: RegionId(region),
    });
    vec(port, 0..3).boxed()
}

fn facts() -> BoxedStrategy<Facts> {
    (number(), number(), number(), number())
        .prop_map(|(parameters, macs, weight_bytes, sram_peak)| Facts {
            parameters,
            macs,
            weight_bytes,
            sram_peak,
        })
        .boxed()
}

fn bound() -> BoxedStrategy<Bound> {
    let seconds = any::<f64>().prop_filter("no NaN", |value| !value.is_nan());
    let slopes = vec((number(), seconds.clone()), 0..3).prop_map(|slopes| {
        let slope = |(dram_bytes, seconds)| Slope {
            dram_bytes,
            seconds,
        };
        slopes.into_iter().map(slope).collect()
    });
    let bytes = (number(), number());
    let seconds = (seconds.clone(), seconds);
    (bytes, seconds, name(), pairs(), slopes)
        .prop_map(|(bytes, seconds, binding_term, terms, slopes)| Bound {
            slopes,
            dram_bytes: bytes.0,
            attainable_dram_bytes: bytes.1,
            seconds: seconds.0,
            attainable_seconds: seconds.1,
            binding_term,
            terms,
        })
        .boxed()
}

fn entry() -> BoxedStrategy<Entry> {
    let register = (name(), number()).prop_map(|(name, max)| Register { name, max });
    let head = (
        name(),
        pairs(),
        vec(register, 0..3),
        vec(region(), 0..4),
        ports(),
        ports(),
    );
    (head, vec(packet(), 0..4), facts(), bound())
        .prop_map(|(head, packets, facts, bound)| {
            let (name, binding, registers, regions, inputs, outputs) = head;
            Entry {
                name,
                binding,
                registers,
                regions,
                inputs,
                outputs,
                packets,
                facts,
                bound,
            }
        })
        .boxed()
}

fn constants() -> BoxedStrategy<Constants> {
    prop_oneof![
        number().prop_map(|bytes| Constants::Absent { bytes }),
        vec(any::<u8>(), 0..100).prop_map(|bytes| Constants::Present(Bytes::from(bytes))),
        vec(any::<u8>(), 4090..4110).prop_map(|bytes| Constants::Present(Bytes::from(bytes))),
    ]
    .boxed()
}

/// Any program.
pub fn program() -> BoxedStrategy<Program> {
    let origin = (name(), name(), vec(name(), 0..3)).prop_map(|(layer, what, nodes)| Origin {
        layer,
        what,
        nodes,
    });
    let words = (name(), name(), name(), name());
    (words, vec(origin, 0..3), vec(entry(), 0..3), constants())
        .prop_map(
            |((model, target_toml, precision, tool), origins, entries, constants)| Program {
                model,
                target_toml,
                precision,
                tool,
                origins,
                entries,
                constants,
            },
        )
        .boxed()
}
