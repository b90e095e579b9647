//! Does the loader put into the kernel what it is given, and take all of it away again?

mod image;
mod interfaces;
mod packets;
mod site;
mod swaps;

use std::{fs, time::Instant};

use anyhow::Result;
use dataplane_common::{
    addr::{Addr, V4_PREFIX_OFFSET_BITS as V4},
    limits,
    table::{
        LocationKey, Tenant,
        route::{self, Route},
        zone::Zone,
    },
};
use dataplane_user::load::{
    Attach, Barrier, Dataplane, Error, Hook, LogLevel, Options, Place, Role, Shared, Sizes,
    detach::{Done, detach},
};
use dataplane_user::tables::Image;
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
        let alone = dataplane.room().used;
        assert_eq!(dataplane.read_back()?.normal(), as_it_is_read(&image).normal());
        assert!(dataplane.prepare(&image)?);
        assert!(!dataplane.prepare(&any_image(seed + 1, size))?);
        let mut other = image.clone();
        if other.routes.pop().is_some() {
            assert!(!dataplane.prepare(&other)?);
        }
        // Nothing is left of the versions before, nor of what did not come into force.
        assert!(dataplane.prepare(&image)?);
        assert_eq!(dataplane.room().used, alone);
        // What was only tried takes no room.
        dataplane.prepare(&any_image(seed + 1, size + 1))?;
        dataplane.give_up();
        assert_eq!(dataplane.room().used, alone);
        assert!(matches!(dataplane.commit(), Err(Error::NotPrepared)));
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_image_that_does_not_fit_changes_nothing() -> Result<()> {
    let lab = Lab::new("refused")?;
    let mut options = options(&lab)?;
    options.sizes.heap_lines = 1 << 12;
    let mut dataplane = Dataplane::load(&options)?;
    let before = any_image(7, 20);
    dataplane.install(&before)?;

    let mut large = any_image(8, 20);
    large.tenants = vec![Tenant::default(); limits::TENANTS_MAX as usize + 1];
    let refusal = dataplane.install(&large).expect_err("too many tenants").to_string();
    assert!(refusal.contains("tenants: 1024 records, 1023 fit"), "{refusal}");

    // What was written of the image before there was no room is given up.
    let room = dataplane.room();
    let refused = dataplane.install(&any_image(9, 2000));
    let Err(refused @ Error::HeapFull { site, used, lines, largest }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((used, lines, largest), (room.used, room.lines, room.largest));
    assert!(site > largest as usize, "it fits: {refused}");
    let said = refused.to_string();
    let larger = said.split("--heap-mib ").nth(1).and_then(|more| more.split('`').next());
    let larger: usize = larger.and_then(|mib| mib.parse().ok()).expect("a number");
    assert!(larger << 14 >= 2 * site && larger.is_power_of_two(), "{said}");
    assert_eq!((dataplane.version(), dataplane.room()), (1, room));
    assert!(dataplane.prepare(&before)?);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_change_of_one_route_needs_little_room() -> Result<()> {
    const ROUTES: u32 = 20_000;
    let lab = Lab::new("one-route")?;
    let mut options = options(&lab)?;
    // Two of them would not fit.
    options.sizes.heap_lines = 1 << 15;
    let mut dataplane = Dataplane::load(&options)?;
    let route = |id: u32| {
        let [_, a, b, c] = id.to_be_bytes();
        let to = LocationKey { addr: Addr::v4([10 + a, b, c, 0]), zone: 1, zero: 0 };
        (to, V4 + 24, Route { kind: route::kind::BLACKHOLE, id, ..Route::default() })
    };
    let zones = vec![Zone::default(); 2];
    let routes = (1..=ROUTES).map(route).collect();
    let mut image = Image { tenants: vec![Tenant::default()], zones, routes, ..Image::default() };
    dataplane.install(&image)?;
    let alone = dataplane.room().used;
    assert!(alone > 1 << 14, "{alone} lines");
    for number in 0..20 {
        match number % 3 {
            0 => drop(image.routes.remove(777)),
            1 => image.routes.push(route(ROUTES + number)),
            _ => image.routes[555].2.kind = route::kind::CONNECTED,
        }
        // What is only tried is forgotten.
        if number % 7 == 6 {
            dataplane.prepare(&Image { routes: Vec::new(), ..image.clone() })?;
            dataplane.give_up();
        }
        dataplane.prepare(&image)?;
        // A piece of the records, the list of pieces and that of objects, an object of 256
        // prefixes, the pages above it.
        let more = dataplane.room().used - alone;
        assert!(more < 64 + 20 + 50 + 300 + 3 * 17, "{number}: {more} lines more");
        dataplane.commit()?;
        let (now, few) = (dataplane.room().used, 100);
        assert!(now.abs_diff(alone) < few, "{number}: {now} lines, {alone} at first");
    }
    // Whoever lays all of it out anew places nothing else.
    drop(dataplane);
    assert!(Dataplane::load(&options)?.prepare(&image)?);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn large_images_are_installed() -> Result<()> {
    let lab = Lab::new("large")?;
    let mut options = options(&lab)?;
    options.sizes.heap_lines = 1 << 21;
    let mut dataplane = Dataplane::load(&options)?;
    for size in [1000, 10_000] {
        for seed in 1..3 {
            let image = any_image(seed, size);
            let installed = dataplane.install(&image)?;
            eprintln!("{installed:?}");
            assert_eq!(dataplane.read_back()?.stations.len(), size as usize);
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

    let other_size = Options {
        sizes: Sizes { flow_lines: 2 * FLOW_LINES, ..Sizes::default() },
        ..options.clone()
    };
    let mut dataplane = Dataplane::load(&other_size)?;
    assert_eq!(dataplane.version(), 1);
    assert!(dataplane.prepare(&image)?);
    assert_eq!(dataplane.install(&image)?.version, 2);
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
    Ok(Options {
        place,
        sizes: Sizes { flow_lines: FLOW_LINES, ..Sizes::default() },
        log: LogLevel::Off,
        barrier: Barrier::Any,
    })
}

/// What can be told of an image that is in force.
fn as_it_is_read(image: &Image) -> Image {
    let mut image = image.clone();
    (image.permits, image.sessions, image.routes) = Default::default();
    (image.members, image.group_prefixes, image.rules) = Default::default();
    image
}
