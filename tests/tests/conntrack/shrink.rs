//! What is the shortest talk in which an unexplained difference is left?

use anyhow::Result;

use super::{
    compare::{Found, compare},
    linux::Linux,
    ours::Ours,
    segment::Talk,
};

/// Takes away segments, one by one, as long as the difference stays.
pub fn shrink(talk: &Talk, ours: &Ours, linux: &mut Linux) -> Result<Talk> {
    let mut talk = talk.clone();
    loop {
        let shorter: Vec<_> = (0..talk.segments.len())
            .map(|at| {
                let mut shorter = talk.clone();
                shorter.segments.remove(at);
                shorter
            })
            .collect();
        let (mine, theirs) = (ours.judge(&shorter), linux.judge(&shorter)?);
        let smaller = shorter.into_iter().zip(mine).zip(theirs).find(|((talk, mine), theirs)| {
            compare(talk, mine, theirs).contains(&Found::Unexplained)
        });
        let Some(((smaller, _), _)) = smaller else { return Ok(talk) };
        talk = smaller;
    }
}
