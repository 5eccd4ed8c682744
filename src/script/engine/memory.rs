//! The memory of a Lua state: its limit and its allocator.
//!
//! A script allocates and drops a few small objects per log: tables, their slots, strings. A dropped block goes onto
//! a free list for its size, and the next block of that size is taken from it, so most allocations take a dozen
//! instructions. Lists are filled from chunks, which are freed when the state ends. Large blocks go directly to the
//! global allocator. What a state holds counts towards the [`TotalMemory`] of all states too.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use mlua::ffi::{self, lua_State};
use mlua::{Lua, StdLib};

use super::total_memory::TotalMemory;

/// Maximum size of a block from a free list; the text of a usual log fits.
const MAX_SMALL: usize = 2048;

/// Sizes are rounded up to multiples of this; also the alignment of blocks.
const STEP: usize = 16;

/// Size of a chunk, from which the free lists are filled.
const CHUNK: usize = 16 << 10;

/// Free lists keep dropped blocks, so a script that uses many sizes in turn needs more memory than it holds at any
/// time. The chunks may exceed the limit by this many bytes, plus this fraction of the limit.
const MAX_KEPT: usize = 1 << 20;
const KEPT_PART: usize = 4;

/// A state takes this many bytes more from the total than it needs, so that it seldom has to.
const AHEAD: usize = 64 << 10;

/// A Lua state with the libraries and a memory limit.
pub(crate) struct LuaState {
    /// `None` only while the state is being closed.
    lua: Option<Lua>,
    state: *mut lua_State,
    /// A box whose address Lua has.
    memory: *mut Memory,
}

// SAFETY: the state and its memory are reached only through this, and through `lua`, which is bound to no thread.
unsafe impl Send for LuaState {}

impl LuaState {
    /// A new state without a limit until one is set. Fails when there is no memory.
    pub(crate) fn new(libraries: StdLib) -> mlua::Result<Self> {
        let memory = Box::into_raw(Box::new(Memory::default()));
        // SAFETY: `allocate` meets the requirements of `lua_Alloc`, and its memory lives until the state is closed. The library of
        // the globals is opened before a limit is set, so nothing raises an error here.
        unsafe {
            let state = ffi::lua_newstate(allocate, memory.cast());
            if state.is_null() {
                drop(Box::from_raw(memory));
                return Err(mlua::Error::MemoryError("no memory for a Lua state".to_owned()));
            }
            ffi::luaL_requiref(state, c"_G".as_ptr(), ffi::luaopen_base, 1);
            ffi::lua_settop(state, -2);
            let lua = Lua::get_or_init_from_ptr(state).clone();
            let this = Self { lua: Some(lua), state, memory };
            this.load_std_libs(libraries)?;
            Ok(this)
        }
    }

    /// Bytes held by the state.
    pub(crate) fn used(&self) -> usize {
        // SAFETY: Lua uses it only while Lua code runs, which needs the state.
        unsafe { (*self.memory).used }
    }

    /// Sets the limit of this state in bytes, and the memory of all states that it is part of.
    pub(crate) fn set_limits(&self, bytes: usize, total: Arc<TotalMemory>) {
        // SAFETY: as in `LuaState::used`.
        unsafe { (*self.memory).set_limits(bytes, total) }
    }

    /// Gives back to the total what the state no longer holds.
    pub(crate) fn trim(&self) {
        // SAFETY: as in `LuaState::used`.
        unsafe { (*self.memory).trim() }
    }
}

impl std::ops::Deref for LuaState {
    type Target = Lua;

    fn deref(&self) -> &Lua {
        self.lua.as_ref().expect("it exists until the state is closed")
    }
}

impl Drop for LuaState {
    fn drop(&mut self) {
        self.lua = None;
        // SAFETY: this struct owns the state, and nothing else refers to it: tables and functions have weak references.
        // The memory is used until the state is closed.
        unsafe {
            ffi::lua_close(self.state);
            drop(Box::from_raw(self.memory));
        }
    }
}

/// A free block on a list.
struct Free {
    next: *mut Self,
}

struct Memory {
    /// Free blocks, by size.
    lists: [*mut Free; MAX_SMALL / STEP],
    /// The unused part of the last chunk: its start and size.
    fresh: *mut u8,
    left: usize,
    chunks: Vec<*mut u8>,
    /// Bytes that Lua holds.
    used: usize,
    /// Bytes that it may hold now, without taking more from the total.
    bound: usize,
    /// Bytes that it may ever hold.
    limit: usize,
    /// Bytes taken from the total.
    taken: usize,
    total: Arc<TotalMemory>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            lists: [ptr::null_mut(); _],
            fresh: ptr::null_mut(),
            left: 0,
            chunks: Vec::new(),
            used: 0,
            bound: usize::MAX,
            limit: usize::MAX,
            taken: 0,
            total: Arc::default(),
        }
    }
}

/// Index of the list for blocks of this many bytes, at least one.
#[inline]
fn list_of(bytes: usize) -> usize {
    (bytes - 1) / STEP
}

/// Whether blocks of this many bytes are from a list.
#[inline]
fn is_small(bytes: usize) -> bool {
    (1..=MAX_SMALL).contains(&bytes)
}

impl Memory {
    fn set_limits(&mut self, bytes: usize, total: Arc<TotalMemory>) {
        let before = std::mem::replace(&mut self.total, total);
        before.give_back(std::mem::take(&mut self.taken));
        // The next allocation takes from the new total what the state holds already.
        (self.limit, self.bound) = (bytes, 0);
    }

    fn trim(&mut self) {
        let needed = self.used.saturating_add(AHEAD);
        if self.taken > needed {
            self.total.give_back(self.taken - needed);
            (self.taken, self.bound) = (needed, needed);
        }
    }

    /// Whether Lua may hold this many bytes more, without taking any from the total.
    #[inline]
    fn has_room(&self, more: usize) -> bool {
        self.used.saturating_add(more) <= self.bound
    }

    /// The same after taking from the total, if it has as many.
    fn makes_room(&mut self, more: usize) -> bool {
        let needed = self.used.saturating_add(more);
        if needed <= self.bound {
            return true;
        }
        if needed > self.limit {
            return false;
        }
        let taken = needed.saturating_add(AHEAD).min(self.limit);
        if !self.total.take(taken.saturating_sub(self.taken)) {
            return false;
        }
        self.taken = self.taken.max(taken);
        self.bound = self.taken.min(self.limit);
        true
    }

    fn take(&mut self, bytes: usize) -> *mut u8 {
        if bytes > MAX_SMALL {
            // SAFETY: the size is not zero.
            return Layout::from_size_align(bytes, STEP).map_or(ptr::null_mut(), |layout| unsafe { alloc(layout) });
        }
        let listed = self.take_listed(bytes);
        if listed.is_null() { self.take_fresh((list_of(bytes) + 1) * STEP) } else { listed }
    }

    /// A block of a small size from its list; null if the list is empty.
    #[inline]
    fn take_listed(&mut self, bytes: usize) -> *mut u8 {
        let list = &mut self.lists[list_of(bytes)];
        let first = *list;
        if !first.is_null() {
            // SAFETY: a block on a list is unused, and has a `Free` at its beginning.
            *list = unsafe { (*first).next };
        }
        first.cast()
    }

    /// A block that was never used before.
    #[cold]
    fn take_fresh(&mut self, size: usize) -> *mut u8 {
        if self.left < size {
            let most = self.limit.saturating_add(MAX_KEPT).saturating_add(self.limit / KEPT_PART);
            if self.chunks.len() * CHUNK >= most {
                return ptr::null_mut();
            }
            // The rest of the previous chunk is smaller than this block, and stays unused.
            // SAFETY: the size is not zero.
            let chunk = unsafe { alloc(CHUNK_LAYOUT) };
            if chunk.is_null() {
                return chunk;
            }
            self.chunks.push(chunk);
            (self.fresh, self.left) = (chunk, CHUNK);
        }
        let block = self.fresh;
        self.left -= size;
        // SAFETY: the chunk has at least `size` bytes from here on.
        self.fresh = unsafe { block.add(size) };
        block
    }

    /// # Safety
    /// The block is from [`Memory::take`] for this many bytes, and is not used any more.
    unsafe fn give_back(&mut self, block: *mut u8, bytes: usize) {
        // SAFETY: as above.
        unsafe {
            if bytes > MAX_SMALL {
                return dealloc(block, Layout::from_size_align_unchecked(bytes, STEP));
            }
            self.give_back_listed(block, bytes);
        }
    }

    /// # Safety
    /// As for [`Memory::give_back`]; the size is small.
    #[inline]
    unsafe fn give_back_listed(&mut self, block: *mut u8, bytes: usize) {
        let block: *mut Free = block.cast();
        let list = &mut self.lists[list_of(bytes)];
        // SAFETY: a block has room for a `Free`, and is aligned for it.
        unsafe { block.write(Free { next: *list }) };
        *list = block;
    }

    /// # Safety
    /// As for [`Memory::give_back`]; `new` is not zero. When null is returned, the block is unchanged.
    unsafe fn resize(&mut self, block: *mut u8, old: usize, new: usize) -> *mut u8 {
        if old > MAX_SMALL && new > MAX_SMALL {
            // SAFETY: a block of this layout, see above; Lua requests no size near the maximum.
            return unsafe { realloc(block, Layout::from_size_align_unchecked(old, STEP), new) };
        }
        if old <= MAX_SMALL && new <= MAX_SMALL && list_of(old) == list_of(new) {
            return block;
        }
        let moved = self.take(new);
        if !moved.is_null() {
            // SAFETY: both have at least this many bytes, and the new one is not in use.
            unsafe {
                ptr::copy_nonoverlapping(block, moved, old.min(new));
                self.give_back(block, old);
            }
        }
        moved
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.total.give_back(self.taken);
        for chunk in &self.chunks {
            // SAFETY: all of them were allocated with this layout, and the state that used their blocks is closed.
            unsafe { dealloc(*chunk, CHUNK_LAYOUT) };
        }
    }
}

const CHUNK_LAYOUT: Layout = match Layout::from_size_align(CHUNK, STEP) {
    Ok(layout) => layout,
    Err(_) => panic!("the alignment is a power of two"),
};

/// Lua's allocation function: allocates a block (`block` is null, and `old` is not a size), frees it (`new` is 0), or
/// resizes it.
unsafe extern "C" fn allocate(memory: *mut c_void, block: *mut c_void, old: usize, new: usize) -> *mut c_void {
    // SAFETY: `memory` is from `LuaState::new`, and Lua passes only blocks that it got from here.
    unsafe {
        let memory = &mut *memory.cast::<Memory>();
        // Nearly all calls take a block from a list or put it back. They call nothing, so they need not save registers.
        if block.is_null() && is_small(new) && memory.has_room(new) {
            let listed = memory.take_listed(new);
            if !listed.is_null() {
                memory.used += new;
                return listed.cast();
            }
        } else if !block.is_null() && new == 0 && is_small(old) {
            memory.used -= old;
            memory.give_back_listed(block.cast(), old);
            return ptr::null_mut();
        }
        allocate_any(memory, block.cast(), old, new).cast()
    }
}

/// As [`allocate`].
#[inline(never)]
unsafe fn allocate_any(memory: &mut Memory, block: *mut u8, old: usize, new: usize) -> *mut u8 {
    // SAFETY: as in `allocate`.
    unsafe {
        if block.is_null() {
            if new == 0 || !memory.makes_room(new) {
                return block;
            }
            let taken = memory.take(new);
            memory.used += if taken.is_null() { 0 } else { new };
            return taken;
        }
        if new == 0 {
            memory.used -= old;
            if old > 0 {
                memory.give_back(block, old);
            }
            return ptr::null_mut();
        }
        if new > old && !memory.makes_room(new - old) {
            return ptr::null_mut();
        }
        let moved = memory.resize(block, old, new);
        if !moved.is_null() {
            memory.used = memory.used - old + new;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_blocks_do_not_overlap_and_are_reused() {
        let mut memory = Memory::default();
        let sizes = [1, 15, 16, 17, 100, MAX_SMALL - 1, MAX_SMALL, MAX_SMALL + 1, 5000];
        let blocks: Vec<(*mut u8, usize)> =
            (0..2000).map(|nth| sizes[nth % sizes.len()]).map(|size| (memory.take(size), size)).collect();
        for (nth, &(block, size)) in blocks.iter().enumerate() {
            assert_eq!(block.addr() % STEP, 0);
            // SAFETY: the block has this many bytes.
            unsafe { block.write_bytes(nth as u8, size) };
        }
        for (nth, &(block, size)) in blocks.iter().enumerate() {
            // SAFETY: as above, and all bytes are initialized.
            let bytes = unsafe { std::slice::from_raw_parts(block, size) };
            assert!(bytes.iter().all(|&byte| byte == nth as u8), "{size}");
        }
        let chunks = memory.chunks.len();
        for &(block, size) in &blocks {
            // SAFETY: each block is freed once.
            unsafe { memory.give_back(block, size) };
        }
        let again: Vec<(*mut u8, usize)> = blocks.iter().map(|&(_, size)| (memory.take(size), size)).collect();
        assert_eq!(memory.chunks.len(), chunks);
        for (block, size) in again {
            // SAFETY: each block is freed once.
            unsafe { memory.give_back(block, size) };
        }
    }

    #[test]
    fn a_block_keeps_its_bytes_when_it_is_resized() {
        let mut memory = Memory::default();
        let sizes = [1, 16, 17, MAX_SMALL, MAX_SMALL + 1, 3000];
        for old in sizes {
            for new in sizes {
                let block = memory.take(old);
                // SAFETY: the sizes are those of the blocks.
                unsafe {
                    block.write_bytes(7, old);
                    let moved = memory.resize(block, old, new);
                    let kept = std::slice::from_raw_parts(moved, old.min(new));
                    assert!(kept.iter().all(|&byte| byte == 7), "{old} to {new}");
                    memory.give_back(moved, new);
                }
            }
        }
    }

    #[test]
    fn the_memory_limit_holds_and_everything_is_freed() {
        let state = LuaState::new(StdLib::STRING).unwrap();
        let before = state.used();
        assert!(before > 10_000);
        state.set_limits(before + 100_000, Arc::default());
        let new = "local t = {} for i = 1, 1e6 do t[i] = ('x'):rep(i) end";
        let growing = "local t = {} for i = 1, 1e5 do t[i] = i end";
        for fill in [new, growing] {
            assert!(matches!(state.load(fill).exec(), Err(mlua::Error::MemoryError(_))), "{fill}");
        }
        state.gc_collect().unwrap();
        assert!(state.used() < before + 20_000, "{}", state.used());
        state.set_limits(usize::MAX, Arc::default());
        state.load("local t = {} for i = 1, 3000 do t[i] = ('x'):rep(i) end").exec().unwrap();
    }

    #[test]
    fn states_give_back_to_the_total_what_they_no_longer_hold() {
        const LARGE: usize = 3 << 20;
        let total = Arc::new(TotalMemory::new(4 << 20));
        let [mut one, mut other] = [(); 2].map(|()| {
            let mut memory = Memory::default();
            memory.set_limits(usize::MAX, Arc::clone(&total));
            memory
        });
        let take = |memory: &mut Memory| unsafe {
            // SAFETY: the block is new.
            allocate_any(memory, ptr::null_mut(), 0, LARGE)
        };
        let block = take(&mut one);
        assert!(!block.is_null() && take(&mut other).is_null());
        // SAFETY: the block is of this state and size.
        unsafe { allocate_any(&mut one, block, LARGE, 0) };
        one.trim();
        let block = take(&mut other);
        assert!(!block.is_null() && total.taken() > LARGE);
        // SAFETY: as above.
        unsafe { allocate_any(&mut other, block, LARGE, 0) };
        drop((one, other));
        assert_eq!(total.taken(), 0);
    }

    #[test]
    fn memory_in_free_lists_has_a_limit_too() {
        let mut memory = Memory::default();
        memory.set_limits(100_000, Arc::default());
        let most = memory.limit + MAX_KEPT + memory.limit / KEPT_PART;
        let taken = (0..most).take_while(|nth| !memory.take(1 + nth * 16 % MAX_SMALL).is_null()).count();
        assert!(taken < most, "there is no limit");
        assert!(memory.chunks.len() * CHUNK <= most + CHUNK);
    }
}
