//! How is a program of `dataplane-ebpf`'s benchmarks loaded and run?

use std::{env, fs, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{TestRun, TestRunOptions, Xdp},
};
use dataplane_common::{
    addr::Addr,
    table::heap::{Heap as _, Line},
};
use dataplane_user::{load::Mapping, tables::heap::HostHeap};

/// Where `cargo xtask bench` has put the object.
const OBJECT: &str = "SEKISHO_BENCH_OBJECT";

/// The object's bytes; nothing, with a word about it, if nobody has built it.
pub fn bytes() -> Result<Option<Vec<u8>>> {
    let Some(path) = env::var_os(OBJECT) else {
        println!("skipped: `cargo xtask bench` builds the programs that are measured here");
        return Ok(None);
    };
    Ok(Some(fs::read(&path).with_context(|| path.display().to_string())?))
}

/// The programs, with a heap and inputs.
pub struct Object {
    ebpf: Ebpf,
    inputs: u32,
}

/// What a run of a program said.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// A sum of the results.
    pub sum: u32,
    /// For each input.
    pub ns: f64,
}

impl Object {
    /// Loads them; `sizes` are of maps that they have besides.
    pub fn load(
        bytes: &[u8],
        heap: &HostHeap,
        inputs: &[Addr],
        sizes: &[(&str, u32)],
    ) -> Result<Self> {
        let count = u32::try_from(inputs.len())?;
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("INPUTS", count);
        for (name, size) in sizes {
            loader.map_max_entries(name, *size);
        }
        let mut object = Self { ebpf: loader.load(bytes)?, inputs: count };
        let Map::Array(map) = object.map("HEAP")? else { bail!("HEAP is no array") };
        let mut lines = Mapping::<Line>::new("HEAP", map)?;
        for at in 0..heap.lines() {
            let line = heap.line(u32::try_from(at)?).context("a line of the heap")?;
            *lines.records_mut().get_mut(at).context("the heap is too large")? = *line;
        }
        let mut words: Array<_, [u64; 2]> = object.array("INPUTS")?;
        for (at, input) in (0..).zip(inputs) {
            words.set(at, input.words(), 0)?;
        }
        Ok(object)
    }

    /// A map of theirs.
    pub fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))
    }

    fn array<T: aya::Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, T>> {
        Ok(Array::try_from(self.map(name)?)?)
    }

    /// Loads a program; answers how many instructions the verifier looked at.
    pub fn verify(&mut self, name: &str) -> Result<u32> {
        let program = self.xdp(name)?;
        program.load()?;
        program.info()?.verified_instruction_count().ok_or_else(|| anyhow!("no count of {name}"))
    }

    /// Runs a loaded program on so many inputs from this one on.
    pub fn run(&mut self, name: &str, object: u32, start: u32, count: u32) -> Result<Ran> {
        let words = [object, start, count, self.inputs - 1];
        let mut ask: Array<_, [u32; 4]> = self.array("ASK")?;
        ask.set(0, words, 0)?;
        let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::default() };
        let result = self.xdp(name)?.test_run(options)?;
        let took: Duration = result.duration;
        Ok(Ran { sum: result.return_value, ns: took.as_nanos() as f64 / f64::from(count) })
    }

    fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(name);
        Ok(program.with_context(|| format!("no program {name}"))?.try_into()?)
    }
}
