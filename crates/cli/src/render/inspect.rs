//! What is in a model or a program, as text.

use packwright::inspect::{ModelFacts, Named, PortFacts, ProgramFacts};

use super::{table, unit};

/// Problems shown; the rest are counted.
const MOST_PROBLEMS: usize = 20;

/// A model.
pub fn model(facts: &ModelFacts, width: Option<u16>) -> String {
    let opsets: Vec<_> = facts
        .opsets
        .iter()
        .map(|set| match set.name.as_str() {
            "" => format!("opset {}", set.value),
            domain => format!("{domain} {}", set.value),
        })
        .collect();
    let mut text = format!(
        "{}: {}, {}\n",
        facts.file,
        facts.producer,
        opsets.join(", ")
    );
    text.push_str(&format!(
        "{} nodes, {} initializers ({} in other files)",
        facts.nodes, facts.initializers, facts.external
    ));
    if facts.functions > 0 {
        text.push_str(&format!(", {} functions put in place", facts.functions));
    }
    text.push('\n');
    if let (Some(parameters), Some(bytes), Some(macs)) =
        (facts.parameters, facts.weight_bytes, facts.macs)
    {
        let weights = if facts.weights_present == Some(true) {
            "present"
        } else {
            "absent"
        };
        text.push_str(&format!(
            "{} parameters, weights {weights} ({}), {} MAC at {}\n",
            unit::count(parameters),
            unit::bytes(bytes),
            unit::count(macs),
            binding(&facts.binding),
        ));
    }
    text.push('\n');
    text.push_str(&ports(&facts.inputs, &facts.outputs, width));
    if !facts.axes.is_empty() {
        let mut list = table::table(&["<axis", "<role", "<bound by", "<stands in"], width);
        for axis in &facts.axes {
            let by = match (axis.option, axis.role) {
                (Some(option), _) => option.to_owned(),
                (None, "total") => "its parts".to_owned(),
                (None, _) => format!("--bind {}=N", axis.name),
            };
            list.add_row([
                axis.name.clone(),
                axis.role.to_owned(),
                by,
                places(&axis.places),
            ]);
        }
        text.push('\n');
        text.push_str(&table::text(&list));
    }
    let operators: Vec<_> = facts
        .operators
        .iter()
        .map(|op| format!("{} {}", op.name, op.value))
        .collect();
    text.push('\n');
    text.push_str(&table::list("operators", &operators, width));
    if !facts.fused.is_empty() {
        let fused: Vec<_> = facts
            .fused
            .iter()
            .map(|op| format!("{} {}", op.name, op.value))
            .collect();
        text.push_str(&table::list("after fusion", &fused, width));
    }
    if let Some(largest) = &facts.largest_activation {
        let shape: Vec<_> = largest.shape.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "largest activation: {}[{}], {}, by {} at {}\n",
            largest.elem,
            shape.join(","),
            unit::bytes(largest.bytes),
            largest.operator,
            largest.place,
        ));
    }
    text.push('\n');
    if facts.problems.is_empty() {
        text.push_str(
            "nothing stands in the way of compiling it for a machine that is large enough\n",
        );
    } else {
        text.push_str(&match facts.problems.len() {
            1 => "one problem stands in the way:\n".to_owned(),
            n => format!("{n} problems stand in the way:\n"),
        });
    }
    for problem in facts.problems.iter().take(MOST_PROBLEMS) {
        let place = problem.r#where.as_deref().unwrap_or("model");
        text.push_str(&format!(
            "  {place}: {} [{}]\n",
            problem.message, problem.code
        ));
    }
    if facts.problems.len() > MOST_PROBLEMS {
        let left = facts.problems.len() - MOST_PROBLEMS;
        text.push_str(&format!("  … and {left} more; --json lists all\n"));
    }
    for warning in &facts.warnings {
        let place = warning.r#where.as_deref().unwrap_or("model");
        text.push_str(&format!(
            "warning: {place}: {} [{}]\n",
            warning.message, warning.code
        ));
    }
    text
}

/// A program.
pub fn program(facts: &ProgramFacts, width: Option<u16>) -> String {
    let weights = if facts.constants_present {
        "present"
    } else {
        "absent"
    };
    let mut text = format!(
        "{} for {}, {}, by {}\nformat {}, {}, weights {weights} ({})\n",
        facts.model,
        facts.target,
        facts.precision,
        facts.tool,
        facts.format_version,
        unit::bytes(facts.file_bytes),
        unit::bytes(facts.constants_bytes),
    );
    for entry in &facts.entries {
        text.push_str(&format!(
            "\nentry {} ({}): {} packets, {} commands, SRAM peak {}, bound {} and {}\n",
            entry.name,
            binding(&entry.binding),
            entry.packets,
            entry.commands,
            unit::binary_bytes(entry.sram_peak_bytes),
            unit::bytes(entry.bound_dram_bytes),
            unit::seconds(entry.bound_seconds),
        ));
        if !entry.registers.is_empty() {
            text.push_str(&format!("registers up to {}\n", binding(&entry.registers)));
        }
        text.push('\n');
        text.push_str(&ports(&entry.inputs, &entry.outputs, width));
        let mut list = table::table(&["<region", "<kind", "address", "bytes"], width);
        for region in &entry.regions {
            list.add_row([
                region.name.clone(),
                region.kind.clone(),
                format!("0x{:x}", region.address),
                region.bytes.to_string(),
            ]);
        }
        text.push('\n');
        text.push_str(&table::text(&list));
    }
    text
}

fn ports(inputs: &[PortFacts], outputs: &[PortFacts], width: Option<u16>) -> String {
    let mut list = table::table(&["<port", "<name", "<type"], width);
    for (word, ports) in [("input", inputs), ("output", outputs)] {
        for port in ports {
            let ty = format!("{}[{}]", port.elem, port.shape.join(","));
            list.add_row([word.to_owned(), port.name.clone(), ty]);
        }
    }
    table::text(&list)
}

/// Where an axis stands; caches of many layers are not all listed.
fn places(places: &[String]) -> String {
    match places {
        [a, b, c, rest @ ..] if rest.len() > 1 => format!("{a}, {b}, {c} and {} more", rest.len()),
        _ => places.join(", "),
    }
}

fn binding(binding: &[Named<u64>]) -> String {
    let list: Vec<_> = binding
        .iter()
        .map(|one| format!("{}={}", one.name, one.value))
        .collect();
    if list.is_empty() {
        "fixed shapes".to_owned()
    } else {
        list.join(", ")
    }
}
