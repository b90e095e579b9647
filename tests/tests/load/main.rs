//! Does the loader put into the kernel what it is given, and take all of it away again?

mod image;
mod interfaces;
mod packets;
mod site;

use std::{fs, time::Instant};

use anyhow::Result;
use dataplane_common::{limits, table::policy::Rule};
use dataplane_user::load::{
    Attach, Dataplane, Error, Hook, LogLevel, Options, Place, Role, Shared,
    detach::{Done, detach},
};
use sekisho_tests::Lab;

use image::any_image;

const FLOW_LINES: u32 = 1 << 12;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn the_kernel_takes_every_program() -> Result<()> {
    let lab = Lab::new("programs")?;
    let start = Instant::now();
    let dataplane = Dataplane::load(&options(&lab)?)?;
    eprintln!("loaded in {:?}", start.elapsed());
    for program in dataplane.programs()? {
        eprintln!("{}: {} instructions verified", program.name, program.verified);
        assert!(program.verified > 0);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_image_is_read_back_as_it_was_installed() -> Result<()> {
    let lab = Lab::new("image")?;
    let options = options(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;
    assert_eq!(dataplane.version(), 0);
    for (seed, size) in [(1, 0), (2, 1), (3, 40), (4, 300), (5, 3), (6, 1000)] {
        let image = any_image(seed, size);
        let installed = dataplane.install(&image)?;
        assert_eq!((installed.version, dataplane.version()), (seed, seed));
        assert_eq!(dataplane.read_back()?.normal(), image.clone().normal());
        // Nothing is left of the versions before.
        assert_eq!(entries(&options.place, "MEMBERS")?, image.members.len());
        assert_eq!(entries(&options.place, "ROUTES")?, image.routes.len());
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_image_that_does_not_fit_changes_nothing() -> Result<()> {
    let lab = Lab::new("refused")?;
    let options = options(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;
    let before = any_image(7, 20);
    dataplane.install(&before)?;

    let mut large = any_image(8, 20);
    large.rules = vec![Rule::default(); limits::RULES_MAX as usize + 1];
    let refusal = dataplane.install(&large).expect_err("too many rules").to_string();
    assert!(refusal.contains("rules: 65537 records, 65536 fit"), "{refusal}");

    // A table that is full of something else: what was written of the image before
    // the error is removed again.
    let junk = fill_stations(&options.place)?;
    let refused = dataplane.install(&any_image(9, 20));
    assert!(
        matches!(refused, Err(Error::Write { table: "STATIONS", version: 2, .. })),
        "{refused:?}"
    );
    assert_eq!(dataplane.version(), 1);
    assert_eq!(dataplane.read_back()?.normal(), before.normal());
    assert_eq!(entries(&options.place, "ATTACHMENTS")?, 20);
    assert!(junk > 60_000);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn large_images_are_installed() -> Result<()> {
    let lab = Lab::new("large")?;
    let mut dataplane = Dataplane::load(&options(&lab)?)?;
    for size in [1000, 10_000] {
        for seed in 1..3 {
            let image = any_image(seed, size);
            let installed = dataplane.install(&image)?;
            eprintln!("{installed:?}");
            assert_eq!(dataplane.read_back()?.members.len(), size as usize);
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_later_process_goes_on_with_the_tables() -> Result<()> {
    let lab = Lab::new("restart")?;
    let options = options(&lab)?;
    let image = any_image(1, 50);
    let mut dataplane = Dataplane::load(&options)?;
    dataplane.install(&image)?;
    assert!(matches!(Dataplane::load(&options).err(), Some(Error::InUse { .. })));
    drop(dataplane);

    let other_size = Options { flow_lines: 2 * FLOW_LINES, ..options.clone() };
    let mut dataplane = Dataplane::load(&other_size)?;
    assert_eq!(dataplane.version(), 1);
    assert_eq!(dataplane.read_back()?.normal(), image.clone().normal());
    assert_eq!(dataplane.install(&image)?.version, 2);
    assert_eq!(entries(&options.place, "MEMBERS")?, image.members.len());
    drop(dataplane);
    assert_eq!(options.place.generations()?, [1]);

    // A process that ended in the middle of it has left a generation that nobody uses.
    fs::create_dir(options.place.programs(7))?;
    drop(Dataplane::load(&options)?);
    assert_eq!(options.place.generations()?, [8]);

    fs::remove_file(options.place.state_file())?;
    assert!(matches!(Dataplane::load(&options).err(), Some(Error::StateMissing { .. })));
    let outcome = detach(&options.place, false)?;
    assert_eq!((outcome.done.as_slice(), outcome.failed.len()), (&[Done::Removed][..], 0));
    assert!(!options.place.pin.exists() && !options.place.state.exists());
    assert_eq!(detach(&options.place, false)?.done, []);
    Dataplane::load(&options)?;
    Ok(())
}

fn port(interface: &str) -> Attach {
    let wanted_by = format!("port of {interface}");
    Attach {
        interface: interface.into(),
        wanted_by,
        role: Role::Port,
        hook: Hook::Auto,
        shared: Shared::default(),
    }
}

fn uplink(interface: &str, hook: Hook) -> Attach {
    let wanted_by = format!("uplink {interface}");
    Attach {
        interface: interface.into(),
        wanted_by,
        role: Role::Uplink,
        hook,
        shared: Shared::default(),
    }
}

fn attach(
    lab: &Lab,
    dataplane: &mut Dataplane,
    wanted: &[Attach],
) -> Result<Vec<dataplane_user::load::Attached>, Error> {
    lab.dut().in_ns(|| dataplane.attach(wanted)).expect("the namespace is there")
}

fn options(lab: &Lab) -> Result<Options> {
    let place = Place { pin: lab.bpffs()?.join("own"), state: lab.folder().join("state") };
    Ok(Options { place, flow_lines: FLOW_LINES, log: LogLevel::Off })
}

/// How many entries a pinned map has, whoever's they are.
fn entries(place: &Place, name: &str) -> Result<usize> {
    use aya::maps::{HashMap, LpmTrie, Map, MapData};
    let map = Map::from_map_data(MapData::from_pin(place.map(name))?)?;
    Ok(match (name, map) {
        ("MEMBERS", map) => {
            HashMap::<_, [u8; 16], u32>::try_from(map)?.keys().filter_map(Result::ok).count()
        }
        ("ATTACHMENTS", map) => {
            HashMap::<_, [u8; 16], [u8; 24]>::try_from(map)?.keys().filter_map(Result::ok).count()
        }
        (_, map) => {
            LpmTrie::<_, [u8; 28], [u8; 80]>::try_from(map)?.keys().filter_map(Result::ok).count()
        }
    })
}

/// Fills the table of stations with what is no version's.
fn fill_stations(place: &Place) -> Result<usize> {
    use aya::maps::{HashMap, Map, MapData};
    let map = Map::from_map_data(MapData::from_pin(place.map("STATIONS"))?)?;
    let mut map = HashMap::<_, [u8; 24], [u8; 8]>::try_from(map)?;
    for number in 0..2 * limits::STATIONS_MAX {
        let mut key = [0xff; 24];
        key[..4].copy_from_slice(&number.to_ne_bytes());
        if map.insert(key, [0; 8], 0).is_err() {
            return Ok(number as usize);
        }
    }
    anyhow::bail!("the table is never full")
}
