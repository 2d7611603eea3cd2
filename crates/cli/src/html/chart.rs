//! A small chart in SVG: axes, rectangles, lines, areas, dots.

use std::fmt::Write;

/// Size and margins of a chart in pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 10.0;
const BELOW: f64 = 36.0;

/// How values become places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    pub fn linear(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            low,
            high,
            log: false,
        }
    }

    pub fn log(low: f64, high: f64) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        let high = if high > low { high } else { low * 10.0 };
        Self {
            low,
            high,
            log: true,
        }
    }

    /// Where a value lies between low (0) and high (1).
    fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let first = self.low.log10().ceil() as i32;
            let last = self.high.log10().floor() as i32;
            let decades: Vec<f64> = (first..=last).map(|power| 10f64.powi(power)).collect();
            return match decades.len() {
                0 | 1 => vec![self.low, (self.low * self.high).sqrt(), self.high],
                _ => decades,
            };
        }
        let span = self.high - self.low;
        let power = 10f64.powf((span / 6.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
        let step = step
            .into_iter()
            .find(|step| span / step <= 8.0)
            .unwrap_or(span);
        let first = (self.low / step).ceil() as i64;
        let ticks = (first..).map(|n| n as f64 * step);
        ticks
            .take_while(|tick| *tick <= self.high * (1.0 + 1e-9))
            .collect()
    }
}

/// A chart that is being drawn.
pub(super) struct Chart {
    title: String,
    height: f64,
    x: Scale,
    y: Scale,
    marks: String,
}

impl Chart {
    pub fn new(title: &str, height: f64, x: Scale, y: Scale) -> Self {
        Self {
            title: title.to_owned(),
            height,
            x,
            y,
            marks: String::new(),
        }
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        8.0 + (1.0 - self.y.place(y)) * (self.height - 8.0)
    }

    pub fn rectangle(&mut self, x0: f64, x1: f64, y0: f64, y1: f64, colour: &str, title: &str) {
        let (left, top) = (self.px(x0), self.py(y1));
        let (width, height) = (self.px(x1) - left, self.py(y0) - top);
        let _ = write!(
            self.marks,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\">\
             <title>{}</title></rect>",
            escape(title)
        );
    }

    /// A name left of the chart, its middle at `y`.
    pub fn row_label(&mut self, y: f64, text: &str) {
        let (x, y) = (LEFT - 4.0, self.py(y) + 4.0);
        let _ = write!(
            self.marks,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
            escape(text)
        );
    }

    /// A name in the chart; it stays readable over what was drawn before.
    pub fn label(&mut self, x: f64, y: f64, text: &str) {
        let (x, y) = (self.px(x) + 4.0, self.py(y));
        let _ = write!(
            self.marks,
            "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escape(text)
        );
    }

    pub fn dot(&mut self, x: f64, y: f64, colour: &str, title: &str) {
        let (x, y) = (self.px(x), self.py(y));
        let _ = write!(
            self.marks,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" fill-opacity=\"0.7\"><title>{}</title></circle>",
            escape(title)
        );
    }

    pub fn line(&mut self, points: &[(f64, f64)], colour: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{:.1},{:.1}", self.px(x), self.py(y)))
            .collect();
        let _ = write!(
            self.marks,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>",
            points.join(" ")
        );
    }

    /// A step function, filled down to zero, that ends at `end`.
    pub fn area(&mut self, steps: impl Iterator<Item = (f64, f64)>, end: f64, colour: &str) {
        let zero = self.py(0.0);
        let mut path = format!("M{:.1},{zero:.1}", self.px(0.0));
        let mut last = String::new();
        for (x, y) in steps {
            // Steps that are narrower than a tenth of a pixel are not told apart.
            let step = format!("H{:.1}V{:.1}", self.px(x), self.py(y));
            if step != last {
                path.push_str(&step);
            }
            last = step;
        }
        let _ = write!(
            self.marks,
            "<path d=\"{path}H{:.1}V{zero:.1}Z\" fill=\"{colour}\" fill-opacity=\"0.6\"/>",
            self.px(end)
        );
    }

    /// The chart with its title and axes.
    pub fn finish(self, x_unit: &str, y_unit: &str) -> String {
        let mut axes = String::new();
        let bottom = self.height;
        for tick in self.x.ticks() {
            let x = self.px(tick);
            let _ = write!(
                axes,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"8\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 14.0,
                number(tick)
            );
        }
        if !y_unit.is_empty() {
            for tick in self.y.ticks() {
                let y = self.py(tick);
                let _ = write!(
                    axes,
                    "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                     <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    WIDTH - RIGHT,
                    LEFT - 4.0,
                    y + 4.0,
                    number(tick)
                );
            }
            let _ = write!(axes, "<text x=\"2\" y=\"12\">{}</text>", escape(y_unit));
        }
        let (middle, end) = (WIDTH / 2.0, bottom + 28.0);
        let unit = escape(x_unit);
        let _ = write!(
            axes,
            "<text x=\"{middle}\" y=\"{end}\" text-anchor=\"middle\">{unit}</text>"
        );
        format!(
            "<h3>{}</h3>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">{axes}{}</svg>\n",
            escape(&self.title),
            self.height + BELOW,
            self.marks
        )
    }
}

/// A number without more digits than it needs.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text without characters that mean something in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
