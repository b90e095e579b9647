//! How does a cost grow? A curve for each device, both axes logarithmic, as SVG.

/// A plot.
pub struct Plot {
    /// Above it.
    pub title: String,
    /// Below it.
    pub x: &'static str,
    /// Name and points of each curve; all greater than zero.
    pub curves: Vec<(String, Vec<[f64; 2]>)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Where the curves are: left, top, right, bottom.
const AREA: [f64; 4] = [64.0, 40.0, 500.0, 350.0];
/// Told apart also by who does not see red or green (Okabe and Ito); ours is the first.
const COLOURS: [&str; 8] =
    ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

impl Plot {
    /// The picture; none if no curve has two points.
    #[must_use]
    pub fn svg(&self) -> Option<String> {
        let curves: Vec<_> = self.curves.iter().filter(|(_, points)| points.len() > 1).collect();
        let points = || curves.iter().flat_map(|(_, points)| points);
        let [x, y] = [0, 1].map(|axis| Axis::over(points().map(move |point| point[axis])));
        let (x, y) = (x?, y?);
        let [left, top, right, bottom] = AREA;
        let across = |value: f64| left + (right - left) * x.share(value);
        let up = |value: f64| bottom - (bottom - top) * y.share(value);

        let mut svg = String::new();
        let mut put = |line: String| svg += &(line + "\n");
        put(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">"
        ));
        put(format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"));
        put(format!(
            "<text x=\"{left}\" y=\"22\" font-size=\"14\">{}</text>",
            escaped(&self.title)
        ));
        for value in x.decades() {
            let at = across(value);
            put(format!("<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ddd\"/>"));
            let y = bottom + 16.0;
            put(format!(
                "<text x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                short(value)
            ));
        }
        for value in y.decades() {
            let at = up(value);
            put(format!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>"));
            let (x, at) = (left - 6.0, at + 4.0);
            put(format!(
                "<text x=\"{x}\" y=\"{at:.1}\" text-anchor=\"end\">{}</text>",
                short(value)
            ));
        }
        let (middle, low) = (f64::midpoint(left, right), bottom + 36.0);
        put(format!("<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">{}</text>", self.x));
        put(format!("<text x=\"8\" y=\"{}\">ns</text>", top - 6.0));
        for ((at, (name, points)), colour) in (0..).zip(curves).zip(COLOURS.iter().cycle()) {
            let line: Vec<_> =
                points.iter().map(|[x, y]| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
            put(format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            ));
            for [x, y] in points {
                let (x, y) = (across(*x), up(*y));
                put(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
            }
            let (x, y) = (right + 14.0, top + 12.0 + 18.0 * f64::from(at));
            put(format!("<circle cx=\"{x}\" cy=\"{}\" r=\"4\" fill=\"{colour}\"/>", y - 4.0));
            put(format!("<text x=\"{}\" y=\"{y}\">{}</text>", x + 10.0, escaped(name)));
        }
        put("</svg>".to_owned());
        Some(svg)
    }
}

/// Decades that hold all values.
struct Axis {
    first: i32,
    last: i32,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = values.fold(None, |range: Option<(f64, f64)>, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        })?;
        let first = low.log10().floor() as i32;
        Some(Self { first, last: (high.log10().ceil() as i32).max(first + 1) })
    }

    fn share(&self, value: f64) -> f64 {
        (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.first..=self.last).map(|decade| 10_f64.powi(decade))
    }
}

/// 10,000 as 10k.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_lie_in_their_area() {
        let curves = vec![
            ("sekisho".to_owned(), vec![[10.0, 300.0], [100_000.0, 310.0]]),
            ("a < b".to_owned(), vec![[10.0, 2000.0], [100_000.0, 90_000.0]]),
            ("one point".to_owned(), vec![[1.0, 1.0]]),
        ];
        let svg = Plot { title: "new flows".into(), x: "rules", curves }.svg().expect("curves");
        // Left to right over four decades, and over three from below.
        assert!(svg.contains("<polyline points=\"64.0,300.7 500.0,299.2\""), "{svg}");
        assert!(svg.contains("a &lt; b") && !svg.contains("one point"), "{svg}");
        assert!(svg.contains(">100k</text>"), "{svg}");
    }

    #[test]
    fn nothing_is_no_picture() {
        let curves = vec![("one".to_owned(), vec![[1.0, 1.0]])];
        assert_eq!(Plot { title: String::new(), x: "flows", curves }.svg(), None);
    }
}
