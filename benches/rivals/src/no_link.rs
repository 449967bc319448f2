//! Stands in for the link on systems other than Linux, because long paths need Linux's namespaces
//! and devices.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};

use crate::path::Shape;

pub enum Device {}

pub fn enter(_: Ipv4Addr) -> Result<Device> {
    bail!("long paths need Linux")
}

pub fn connect(ends: [Device; 2], _: Shape) {
    match ends[0] {}
}
