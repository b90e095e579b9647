//! Which telephone line is it? An E.164 number in one canonical spelling.

use std::fmt;

/// An E.164 number, shown as `+819012345678`. Ordered by value, so numbers of
/// equal length are ordered as a range of numbers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

/// Why a text is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The network did not tell the number.
    #[error("the number is withheld")]
    Withheld,
    /// A character that no spelling has.
    #[error("unexpected `{0}`")]
    Character(char),
    /// Fewer than 5 or more than 15 digits.
    #[error("an E.164 number has 5 to 15 digits, this one {0}")]
    Length(usize),
    /// A national spelling, and no country to read it in.
    #[error("a national spelling needs the site's `country_code`; or write +81…")]
    NoCountry,
    /// Neither international nor national.
    #[error("it begins neither with `+`, nor with 0, nor with the site's country code")]
    Ambiguous,
    /// `+81 090…`, or a country code that begins with 0.
    #[error("no 0 stands there in an international number")]
    Zero,
}

/// What networks send and people write when there is no number.
const WITHHELD: &[&str] =
    &["anonymous", "withheld", "private", "unavailable", "unknown", "restricted", "非通知"];
/// Countries whose national numbers keep their leading 0 abroad: Italy, San
/// Marino, the Vatican, Ivory Coast, Gabon, Congo.
const ZERO_STAYS: &[u16] = &[39, 378, 379, 225, 241, 242];
/// Japan's own international prefix is 010, besides the common 00.
const JAPAN: u16 = 81;

impl Number {
    /// Reads any usual spelling: `+81-90-1234-5678`, `+81 (0)90 1234 5678`,
    /// `0081…`, and where the country is known `090-1234-5678`,
    /// `819012345678` and (in Japan) `010-81-…`. Full-width forms are folded.
    pub fn parse(text: &str, country: Option<u16>) -> Result<Number, NumberError> {
        let folded: String = text.trim().chars().map(fold).collect();
        if folded.is_empty() || WITHHELD.contains(&folded.to_lowercase().as_str()) {
            return Err(NumberError::Withheld);
        }
        let (plus, rest) = match folded.strip_prefix('+') {
            Some(rest) => (true, rest.replacen("(0)", "", 1)),
            None => (false, folded),
        };
        let mut digits = String::new();
        for c in rest.chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '-' | '.' | '(' | ')' => {}
                other => return Err(NumberError::Character(other)),
            }
        }
        let international = if plus {
            digits
        } else if let Some(rest) = digits.strip_prefix("00") {
            rest.to_owned()
        } else if let Some(country) = country {
            let code = country.to_string();
            let abroad = digits.strip_prefix("010").filter(|_| country == JAPAN);
            if let Some(rest) = abroad {
                rest.to_owned()
            } else if let Some(trunk) = digits.strip_prefix('0') {
                let kept = if ZERO_STAYS.contains(&country) { &digits } else { trunk };
                code + kept
            } else if digits.starts_with(&code) {
                digits
            } else {
                return Err(NumberError::Ambiguous);
            }
        } else {
            return Err(NumberError::NoCountry);
        };
        Number::from_digits(&international, country)
    }

    fn from_digits(digits: &str, country: Option<u16>) -> Result<Number, NumberError> {
        let trunk_zero = country.filter(|code| !ZERO_STAYS.contains(code)).is_some_and(|code| {
            digits.strip_prefix(&code.to_string()).is_some_and(|rest| rest.starts_with('0'))
        });
        if digits.starts_with('0') || trunk_zero {
            return Err(NumberError::Zero);
        }
        let value = digits.parse().ok().filter(|_| (5..=15).contains(&digits.len()));
        value.map(Number).ok_or(NumberError::Length(digits.len()))
    }

    /// The number with its middle hidden: enough to recognise, not to call.
    #[must_use]
    pub fn masked(self) -> String {
        masked(&self.to_string())
    }

    /// The digits as a number: at most 15, the first not 0.
    pub fn digits(self) -> u64 {
        self.0
    }
}

/// A number as it is written, with its middle hidden; or a range of them.
#[must_use]
pub fn masked(text: &str) -> String {
    let one = |number: &str| {
        let number: Vec<_> = number.chars().collect();
        let shown = number.len() / 3;
        let hidden = shown.min(5)..number.len() - shown.min(3);
        let mask = |(at, c): (usize, &char)| if hidden.contains(&at) { '*' } else { *c };
        number.iter().enumerate().map(mask).collect::<String>()
    };
    text.split("..").map(one).collect::<Vec<_>>().join("..")
}

/// Half-width for full-width, one kind of hyphen and of space.
fn fold(c: char) -> char {
    match c {
        '！'..='～' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' | '\u{a0}' | '\t' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | 'ー' => '-',
        other => other,
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_numbers_can_be_recognised_and_not_called() {
        let masked = |text| Number::parse(text, None).unwrap().masked();
        assert_eq!(masked("+819012345678"), "+819******678");
        assert_eq!(masked("+81123"), "+8**23");
        let written = ["090-1234-5678", "0901234..0901299", "", "7"].map(super::masked);
        assert_eq!(written, ["090-******678", "09***34..09***99", "", "*"]);
    }

    #[test]
    fn spellings() {
        let japan = Some(81);
        for (text, country) in [
            ("+819012345678", None),
            ("+81-90-1234-5678", None),
            ("+81 90 1234 5678", japan),
            ("+81 (0)90-1234-5678", None),
            ("+81(90)1234.5678", None),
            ("00819012345678", None),
            ("0081 90-1234-5678", japan),
            ("010-81-90-1234-5678", japan),
            ("090-1234-5678", japan),
            ("09012345678", japan),
            ("(090) 1234 5678", japan),
            ("819012345678", japan),
            ("０９０－１２３４－５６７８", japan),
            ("＋８１　９０（１２３４）５６７８", None),
            ("090‐1234−5678", japan),
            ("090ー1234ー5678", japan),
        ] {
            let number = Number::parse(text, country).map(|number| number.to_string());
            assert_eq!(number.as_deref(), Ok("+819012345678"), "{text}");
        }
        let italy = Number::parse("06 1234 5678", Some(39)).map(Number::digits);
        assert_eq!(italy, Ok(390_612_345_678));
    }

    #[test]
    fn refusals() {
        use NumberError::*;
        let japan = Some(81);
        for (text, country, why) in [
            ("", japan, Withheld),
            ("anonymous", japan, Withheld),
            ("Anonymous", None, Withheld),
            ("非通知", japan, Withheld),
            ("090-1234-5678", None, NoCountry),
            ("819012345678", None, NoCountry),
            ("9012345678", japan, Ambiguous),
            ("+81-090-1234-5678", japan, Zero),
            ("+0123456", None, Zero),
            ("+1234", None, Length(4)),
            ("+1234567890123456", None, Length(16)),
            ("+81-90-1234-567x", None, Character('x')),
            ("+81+9012345678", None, Character('+')),
            ("+8190123٤5678", None, Character('٤')),
        ] {
            assert_eq!(Number::parse(text, country), Err(why), "{text}");
        }
        let long = "9".repeat(100_000);
        assert_eq!(Number::parse(&format!("+{long}"), None), Err(Length(100_000)));
    }
}
