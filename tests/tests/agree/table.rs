//! The packet table in this kernel; `cargo xtask verify --kernels` asks others.

use anyhow::Result;
use sekisho_tests::pair::rows;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn every_row_is_the_same_in_the_kernel() -> Result<()> {
    let ran = rows::agree("agree-rows")?;
    println!("{} rows, {} packets; left out:", ran.rows, ran.packets);
    println!("{}", ran.left_out.join("\n"));
    Ok(())
}
