//! `sekisho detach`: give everything back.

use anyhow::bail;
use clap::Args;

use super::place::PlaceOptions;
use crate::load::detach::detach;

/// Remove programs, tables and links, and give the interfaces back
///
/// Works without the daemon. Tenants' interfaces are set down, since nothing guards
/// them any more, unless --leave-open says otherwise. One that was there and down when
/// its site came is set down in any case, as it was.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    place: PlaceOptions,
    /// Leave tenants' interfaces up, unguarded
    #[arg(long)]
    leave_open: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let place = options.place.place();
    let outcome = detach(&place, options.leave_open)?;
    if outcome.done.is_empty() && outcome.failed.is_empty() {
        println!("nothing of sekisho is in {} (another --pin-path?)", place.pin.display());
    }
    for done in &outcome.done {
        println!("{done}");
    }
    if !outcome.failed.is_empty() {
        let failed: Vec<_> = outcome.failed.iter().map(ToString::to_string).collect();
        let state = place.state_file();
        let later = if state.exists() {
            format!(
                "\nWhat there is to restore stays noted in {}: detach once more, or remove it",
                state.display()
            )
        } else {
            String::new()
        };
        bail!("not everything was given back: {}{later}", failed.join("; "));
    }
    Ok(())
}
