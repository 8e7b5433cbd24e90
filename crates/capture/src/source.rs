//! A reader that knows its place: whole pieces or a `Truncated` that says where the file ends. Reserves next to no
//! memory for bytes that are only claimed.

use std::io::{self, Read};

use super::error::{CaptureError, Problem};

/// Reserved at once for a record that claims as much; beyond that memory comes with the bytes.
const USUAL_RECORD_BYTES: usize = 4 << 10;

/// What is wrong, and with the record at which byte; which frame that is, the iterator knows.
pub(super) struct Fault {
    offset_bytes: u64,
    problem: Problem,
}

impl Fault {
    pub(super) fn at(offset_bytes: u64, problem: Problem) -> Self {
        Self { offset_bytes, problem }
    }

    pub(super) fn before_frame(self, frame: u64) -> CaptureError {
        CaptureError { path: None, offset_bytes: self.offset_bytes, frame, problem: self.problem }
    }
}

pub(super) struct Source<R> {
    reader: R,
    /// How many bytes were read.
    position_bytes: u64,
    /// Where the record being read begins.
    record_bytes: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, position_bytes: 0, record_bytes: 0 }
    }

    /// From here on faults are this record's.
    pub(super) fn begin_record(&mut self) {
        self.record_bytes = self.position_bytes;
    }

    pub(super) fn fault(&self, problem: Problem) -> Fault {
        Fault::at(self.record_bytes, problem)
    }

    /// The next `N` bytes; `None` when the file ends right here.
    pub(super) fn array_or_end<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Fault> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.reader.read(space) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated(N - filled)),
                Ok(count) => {
                    filled += count;
                    self.position_bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(Problem::Read(error))),
            }
        }
        Ok(Some(bytes))
    }

    /// The next `N` bytes, which must be there.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.array_or_end()?.ok_or_else(|| self.truncated(N))
    }

    /// Appends `count` bytes, which must be there. The memory grows with what is read, not with what is claimed.
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>, count: usize) -> Result<(), Fault> {
        bytes.reserve_exact(count.min(USUAL_RECORD_BYTES));
        match self.reader.by_ref().take(count as u64).read_to_end(bytes) {
            Ok(read) => {
                self.position_bytes += read as u64;
                if read < count { Err(self.truncated(count - read)) } else { Ok(()) }
            }
            Err(error) => Err(self.fault(Problem::Read(error))),
        }
    }

    /// Passes over `count` bytes, which must be there.
    pub(super) fn skip(&mut self, count: usize) -> Result<(), Fault> {
        match io::copy(&mut self.reader.by_ref().take(count as u64), &mut io::sink()) {
            Ok(skipped) => {
                self.position_bytes += skipped;
                let missing = count - usize::try_from(skipped).unwrap_or(count);
                if missing > 0 { Err(self.truncated(missing)) } else { Ok(()) }
            }
            Err(error) => Err(self.fault(Problem::Read(error))),
        }
    }

    fn truncated(&self, missing: usize) -> Fault {
        self.fault(Problem::Truncated { ends_at_bytes: self.position_bytes, missing_bytes: missing as u64 })
    }
}
