//! Packet memory: the only file with packet pointers. It must not know what the bytes mean.

use core::{arch::asm, hint::cold_path, mem::MaybeUninit};

use aya_ebpf::{
    bindings::{__sk_buff, bpf_hdr_start_off, xdp_md},
    helpers::generated::{
        bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_pull_data, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    programs::{TcContext, XdpContext},
};
use node_ebpf_common::{Frame, frame::Wire};

use crate::settings::setting;

/// Hides a value from LLVM, which would otherwise derive a pointer again after its check, or drop a check it believes redundant. A jump to the next
/// instruction, for the assembler wants one: the kernel takes it out (Linux 5.1).
#[inline(always)]
pub fn launder(mut value: u64) -> u64 {
    // SAFETY: changes nothing.
    unsafe { asm!("goto +0 /* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) }
    value
}

/// The same context, of which the compiler knows nothing: what is read by it is read again, and nothing read before is kept for it.
#[inline(always)]
pub fn anew<T>(context: *mut T) -> *mut T {
    launder(context as u64) as *mut T
}

/// A frame in one buffer.
pub struct Linear {
    start: usize,
    end: usize,
    length_bytes: usize,
    /// To ask by which interface it came in.
    context: *mut xdp_md,
}

impl Linear {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        let (start, end) = (context.data(), context.data_end());
        Self { start, end, length_bytes: launder((end - start) as u64) as usize, context: context.ctx }
    }
}

impl Frame for Linear {
    type Forgotten<'a> = Self;

    #[inline(always)]
    fn interface(&self, number: u64) -> Option<u32> {
        // SAFETY: the context is this program's own; the verifier turns the field into a load.
        if setting!(interface_rules, number) { Some(unsafe { (*self.context).ingress_ifindex }) } else { None }
    }

    #[inline(always)]
    fn linear_bytes(&self) -> usize {
        self.length_bytes
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        end <= self.length_bytes
    }

    #[inline(always)]
    fn total_bytes(&self) -> usize {
        self.length_bytes
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        let at = launder((self.start + offset) as u64) as usize;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: [at, at + size) lies within the packet by the check above, which the verifier repeats; T is valid for all bytes.
        Some(unsafe { core::ptr::read_unaligned(at as *const T) })
    }

    #[inline(always)]
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        let at = self.start + skipped;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: as in `read`. At a constant offset LLVM keeps the pointer that was checked, so nothing needs to be hidden from it.
        Some(unsafe { core::ptr::read_unaligned(at as *const T) })
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }

    #[inline(always)]
    fn forgotten(&self, zero: u64) -> Self {
        // Sum and exclusive or with what the verifier does not know leave nothing of what it knew.
        let zero = launder(zero);
        let start = launder((self.start as u64).wrapping_add(zero & 63)) as usize;
        let length_bytes = launder(self.length_bytes as u64 ^ zero) as usize;
        Self { start, end: self.end, length_bytes, context: self.context }
    }

    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        // SAFETY: the pointer of a reference, unchanged.
        unsafe { &*(launder(core::ptr::from_ref(value) as u64) as *const T) }
    }
}

/// A frame of one or more buffers. What the first buffer does not hold is fetched by helpers, behind tests that fail for every ordinary frame.
pub struct Frags {
    first: Linear,
}

impl Frags {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        Self { first: Linear::new(context) }
    }
}

impl Frame for Frags {
    type Forgotten<'a> = Self;

    #[inline(always)]
    fn interface(&self, number: u64) -> Option<u32> {
        self.first.interface(number)
    }

    #[inline(always)]
    fn linear_bytes(&self) -> usize {
        self.first.length_bytes
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        self.first.holds(end) || end <= self.total_bytes()
    }

    #[inline(always)]
    fn total_bytes(&self) -> usize {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_get_buff_len(self.first.context) as usize }
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        if let Some(value) = self.first.read(offset) {
            return Some(value);
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes size_of::<T>() bytes into `value` or fails with a negative number.
        let result = unsafe {
            bpf_xdp_load_bytes(self.first.context, offset as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32)
        };
        // SAFETY: filled by the helper; T is valid for all bytes.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        self.first.start(skipped)
    }

    #[inline(always)]
    fn forgotten(&self, zero: u64) -> Self {
        Self { first: self.first.forgotten(zero) }
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }

    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        self.first.anew(value)
    }
}

/// A frame in a socket buffer whose first part can be read directly, often the headers alone: what the commonest shapes are read by. All else is fetched by a
/// helper. A VLAN tag that the kernel has put beside the buffer is no part of it.
pub struct Buffer {
    first: Linear,
    whole: Fetched<false>,
}

impl Buffer {
    #[inline(always)]
    pub fn new(context: &TcContext) -> Self {
        let (start, end) = (context.data(), context.data_end());
        let length_bytes = launder((end - start) as u64) as usize;
        // Nobody asks this part by which interface the frame came.
        let first = Linear { start, end, length_bytes, context: core::ptr::null_mut() };
        Self { first, whole: Fetched::new(context) }
    }
}

impl Frame for Buffer {
    type Forgotten<'a> = Fetched<false>;

    #[inline(always)]
    fn interface(&self, number: u64) -> Option<u32> {
        self.whole.interface(number)
    }

    // What common shapes ask about is whether the packet ends within the frame; their headers are read by `start`, which looks at the first part alone.
    #[inline(always)]
    fn linear_bytes(&self) -> usize {
        self.whole.linear_bytes()
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        self.whole.holds(end)
    }

    #[inline(always)]
    fn total_bytes(&self) -> usize {
        self.whole.total_bytes()
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        self.whole.read(offset)
    }

    /// Behind a tag in the frame nothing is a common shape here: the kernel has put tags aside, and what is left of two is rare.
    #[inline(always)]
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        if skipped == 0 { self.first.start(0) } else { None }
    }

    #[inline(always)]
    fn forgotten(&self, zero: u64) -> Fetched<false> {
        self.whole.forgotten(zero)
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }

    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        self.first.anew(value)
    }
}

/// The interface of a socket buffer, where it may matter.
#[inline(always)]
fn interface(skb: *mut __sk_buff, number: u64) -> Option<u32> {
    // SAFETY: the context is this program's own; the verifier turns the field into a load.
    if setting!(interface_rules, number) { Some(unsafe { (*skb).ifindex }) } else { None }
}

/// How much of a packet can be read that does not lie in one piece: more headers than any packet has that somebody waits for.
const PULLED_BYTES: u32 = 512;

/// What is in a socket buffer, all of it read by a helper. `IP`: a packet without a link-layer header, read from where the kernel's stack will read it, for
/// where its buffer begins differs (some GRE devices leave the outer header in front), and no program is told.
pub struct Fetched<const IP: bool> {
    skb: *mut __sk_buff,
    length_bytes: usize,
}

impl<const IP: bool> Fetched<IP> {
    #[inline(always)]
    pub fn new(context: &TcContext) -> Self {
        let (skb, length_bytes) = (context.skb.skb, context.len());
        let first_bytes = (context.data_end() - context.data()) as u32;
        let wanted = if length_bytes < PULLED_BYTES { length_bytes } else { PULLED_BYTES };
        // From there a helper reads the first part alone.
        if IP && first_bytes < wanted {
            cold_path();
            // SAFETY: the context is this program's own. Where it fails, what is not there can not be read.
            unsafe { bpf_skb_pull_data(skb, wanted) };
        }
        Self { skb, length_bytes: length_bytes as usize }
    }
}

impl<const IP: bool> Frame for Fetched<IP> {
    type Forgotten<'a> = Self;

    #[inline(always)]
    fn interface(&self, number: u64) -> Option<u32> {
        interface(self.skb, number)
    }

    #[inline(always)]
    fn has_tag_beside(&self) -> bool {
        // SAFETY: the context is this program's own; the verifier turns the field into a load.
        unsafe { (*self.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn protocol(&self) -> Option<u16> {
        // SAFETY: the context is this program's own; the verifier turns the field into a load.
        if IP { Some(unsafe { (*self.skb).protocol as u16 }) } else { None }
    }

    #[inline(always)]
    fn linear_bytes(&self) -> usize {
        self.length_bytes
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        end <= self.length_bytes
    }

    #[inline(always)]
    fn total_bytes(&self) -> usize {
        self.length_bytes
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let (skb, to, size) = (self.skb.cast(), value.as_mut_ptr().cast(), size_of::<T>() as u32);
        // SAFETY: the helper writes size_of::<T>() bytes into `value` or fails with a negative number.
        let result = unsafe {
            if IP {
                let start = bpf_hdr_start_off::BPF_HDR_START_NET;
                bpf_skb_load_bytes_relative(skb, offset as u32, to, size, start)
            } else {
                bpf_skb_load_bytes(skb, offset as u32, to, size)
            }
        };
        // SAFETY: filled by the helper; T is valid for all bytes.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    /// No shortcut: the walk reads no header twice.
    #[inline(always)]
    fn start<T: Wire>(&self, _skipped: usize) -> Option<T> {
        None
    }

    #[inline(always)]
    fn forgotten(&self, zero: u64) -> Self {
        Self { skb: self.skb, length_bytes: launder(self.length_bytes as u64 ^ launder(zero)) as usize }
    }

    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        launder(value)
    }

    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        // SAFETY: the pointer of a reference, unchanged.
        unsafe { &*(launder(core::ptr::from_ref(value) as u64) as *const T) }
    }
}
