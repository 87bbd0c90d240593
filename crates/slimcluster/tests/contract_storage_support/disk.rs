//! A real directory that can be made to fail.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use slimcluster::contract::Fault;
use slimcluster_wal::{Disk, DiskFile, StdDisk};

/// A directory with a fault now and then. Clones have the same one.
#[derive(Clone)]
pub struct FaultyDisk {
    path: Arc<Path>,
    /// Of the present process; a disk is opened anew by the next.
    inner: Arc<StdDisk>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// What an effect asks of the medium.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Change,
    Growth,
    Sync,
}

impl FaultyDisk {
    pub fn open(path: &Path) -> Self {
        let inner = Arc::new(StdDisk::open(path).unwrap());
        FaultyDisk { path: path.into(), inner, fault: Arc::default() }
    }

    /// The same directory with the same faults, as the next process opens it.
    pub fn process(&self) -> Self {
        FaultyDisk { inner: Arc::new(StdDisk::open(&self.path).unwrap()), ..self.clone() }
    }

    pub fn inject(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }
}

fn allow(fault: &Mutex<Option<Fault>>, effect: Effect) -> io::Result<()> {
    let mut fault = fault.lock().unwrap();
    match fault.as_mut() {
        Some(Fault::FailAfter(0)) => Err(io::Error::other("the medium fails")),
        Some(Fault::FailAfter(left)) => {
            *left -= 1;
            Ok(())
        }
        Some(Fault::FailSyncs) if effect == Effect::Sync => Err(io::Error::other("the sync fails")),
        Some(Fault::NoSpace) if effect == Effect::Growth => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}

impl Disk for FaultyDisk {
    fn lock(&self) -> io::Result<()> {
        self.inner.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile { inner: self.inner.open(name)?, fault: Arc::clone(&self.fault) }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        allow(&self.fault, Effect::Growth)?;
        Ok(Arc::new(FaultyFile { inner: self.inner.create(name)?, fault: Arc::clone(&self.fault) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        allow(&self.fault, Effect::Change)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        allow(&self.fault, Effect::Change)?;
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        allow(&self.fault, Effect::Sync)?;
        self.inner.sync_directory()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let grows = offset + bytes.len() as u64 > self.inner.len()?;
        allow(&self.fault, if grows { Effect::Growth } else { Effect::Change })?;
        self.inner.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        allow(&self.fault, Effect::Sync)?;
        self.inner.sync()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }
}
