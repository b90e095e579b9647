//! Which numbers does an option take?
//!
//! Whoever gives another one is told the option's own range, and what is counted in it.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// Reads `what`, which has to be in the range.
pub fn number<T>(
    what: &'static str,
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("it has to be {what}, {} to {}", range.start(), range.end()))
    }
}

/// Reads so many of a `unit`, a power of two.
pub fn power_of_two(
    unit: &'static str,
    range: RangeInclusive<u32>,
) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number: &u32| range.contains(number));
        number.filter(|number| number.is_power_of_two()).ok_or_else(|| {
            let (min, max) = (range.start(), range.end());
            format!("it has to be a power of two, {min} to {max} {unit}")
        })
    }
}
