// Package memory bounds the memory that clients occupy in this process.
//
// A Budget counts everything whose size or number clients decide: connections, headers, bodies, requests that wait,
// answers that are being written, events that a slow watcher keeps alive. Whatever is not small takes its bytes from the
// budget first, and is refused if too few are left. Whatever is small is covered by the bytes of its connection.
//
// Time-outs give most of it back soon. The memory of an answer is free when its client has read the answer, and a
// client may never do so. That is a Hold. When the budget is used up, clients that have read nothing of their answer for
// a second are cut off, the one that has read nothing for longest first.
package memory

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// reservePart is the part of the budget that only connections may use, so that clients can ask for health and
	// metrics, delete keys, and change members when the rest is used up.
	reservePart = 8
	// oneRequestPart is the part of the budget that one request counts at most, so that a small budget does not refuse
	// a large request for ever.
	oneRequestPart = 2
	// stalledAfter is how long a client may read nothing of its answer when the budget is used up.
	stalledAfter = time.Second
	// relieveEvery is the time between searches for stalled clients, since their memory is not free at once.
	relieveEvery = 50 * time.Millisecond
)

// ErrUsedUp tells a client to come again later.
var ErrUsedUp = errors.New("etcdserver: the memory for requests is used up")

// A Budget may be used by any number of goroutines. Take and Give use no lock.
type Budget struct {
	max     int64
	refused func(Reason)
	began   time.Time // see now
	used    atomic.Int64

	// mu guards the fields below. It is held while stalled clients are cut off.
	mu       sync.Mutex
	holds    map[*Hold]struct{}
	shared   map[any]*share
	searchAt time.Duration // by now, when stalled clients may be searched for again
}

// A Reason says how a client learned that the budget is used up.
type Reason uint8

// The reasons.
const (
	Refused Reason = iota // a request or connection was refused
	CutOff                // a client that did not read its answer was cut off
)

// share is memory that several answers have in common.
type share struct {
	bytes int64
	holds int
}

// New makes a budget of max bytes. refused is called for each client that is refused or cut off, and must return soon;
// it may be nil.
func New(max int64, refused func(Reason)) *Budget {
	if refused == nil {
		refused = func(Reason) {}
	}
	return &Budget{max: max, refused: refused, began: time.Now(), holds: map[*Hold]struct{}{}, shared: map[any]*share{}}
}

// now is the time since the budget was made. A step of the wall clock does not move it.
func (b *Budget) now() time.Duration { return time.Since(b.began) }

// Max is the size of the budget in bytes.
func (b *Budget) Max() int64 { return b.max }

// Used is the bytes that are taken. It can exceed Max for a moment.
func (b *Budget) Used() int64 { return b.used.Load() }

// Exhausted reports whether only connections may take more.
func (b *Budget) Exhausted() bool { return b.used.Load() > b.max-b.max/reservePart }

// Share gives the bytes to count for a request of n bytes, which may exceed the whole budget.
func (b *Budget) Share(n int64) int64 { return min(n, b.max/oneRequestPart) }

// Take takes n bytes, unless the budget is used up.
func (b *Budget) Take(n int64) bool { return b.take(n, b.max-b.max/reservePart) }

// TakeReserved takes n bytes for a connection, which may come from the reserve.
func (b *Budget) TakeReserved(n int64) bool { return b.take(n, b.max) }

// TakeHalfReserved is TakeReserved for a client that has many connections already: half of the reserve stays for others.
func (b *Budget) TakeHalfReserved(n int64) bool { return b.take(n, b.max-b.max/reservePart/2) }

// TakeAnyway takes n bytes even if the budget is used up, when others are about to be given back.
func (b *Budget) TakeAnyway(n int64) { b.used.Add(n) }

// Try is Take for a caller that can go on without: nobody is cut off, and no refusal is counted.
func (b *Budget) Try(n int64) bool { return b.try(n, b.max-b.max/reservePart) }

func (b *Budget) try(n, limit int64) bool {
	// Adding first and subtracting on failure would make others fail in between.
	for used := b.used.Load(); used+n <= limit; used = b.used.Load() {
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
	return false
}

func (b *Budget) take(n, limit int64) bool {
	if b.try(n, limit) {
		return true
	}
	b.relieve(n)
	b.refused(Refused)
	return false
}

// Give gives back what was taken.
func (b *Budget) Give(n int64) { b.used.Add(-n) }

// A Hold is memory that is in use until a client has read an answer.
type Hold struct {
	budget *Budget
	own    int64
	shared any
	cut    func()
	since  atomic.Int64 // when the client got the current piece, by Budget.now
	over   atomic.Bool  // the client was cut off
}

// An Answer describes the memory of a Hold.
type Answer struct {
	Own    int64  // bytes for this client alone
	Shared any    // identifies memory that other answers may share, and that counts once; nil: none
	Bytes  int64  // of the shared memory
	Cut    func() // ends the writing of the answer; it is never called after End, and must not wait for End
}

// Hold counts an answer. It fails if the budget is used up.
func (b *Budget) Hold(a Answer) (*Hold, bool) {
	if !b.Take(a.Own) {
		return nil, false
	}
	h := b.register(a)
	if a.Bytes == 0 || !b.Exhausted() {
		return h, true
	}
	h.End()
	b.relieve(a.Bytes)
	b.refused(Refused)
	return nil, false
}

// HoldAnyway counts an answer whose memory is in use already, even if the budget is used up. Others may be cut off
// for it.
func (b *Budget) HoldAnyway(a Answer) *Hold {
	b.used.Add(a.Own)
	h := b.register(a)
	if b.Exhausted() {
		b.relieve(a.Own + a.Bytes)
	}
	return h
}

func (b *Budget) register(a Answer) *Hold {
	h := &Hold{budget: b, own: a.Own, shared: a.Shared, cut: a.Cut}
	h.Progress()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds[h] = struct{}{}
	if a.Shared == nil {
		return h
	}
	s := b.shared[a.Shared]
	if s == nil {
		s = &share{bytes: a.Bytes}
		b.shared[a.Shared] = s
		b.used.Add(s.bytes)
	}
	s.holds++
	return h
}

// Progress is called when the client has read a piece, and gets the next one.
func (h *Hold) Progress() { h.since.Store(int64(h.budget.now())) }

// Over reports whether the client was cut off.
func (h *Hold) Over() bool { return h.over.Load() }

// End gives the memory back. It is called once.
func (h *Hold) End() {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.holds, h)
	b.used.Add(-h.own)
	if h.shared == nil {
		return
	}
	s := b.shared[h.shared]
	if s.holds--; s.holds == 0 {
		delete(b.shared, h.shared)
		b.used.Add(-s.bytes)
	}
}

// relieve cuts off clients that do not read their answers, until n bytes and the reserve will be free.
func (b *Budget) relieve(n int64) { b.cutOff(b.used.Load() + n - (b.max - b.max/reservePart)) }

// cutOff cuts off clients that do not read their answers, until so many bytes will be free.
func (b *Budget) cutOff(over int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if now < b.searchAt {
		return
	}
	b.searchAt = now + relieveEvery
	var stalled []*Hold
	for h := range b.holds {
		if !h.Over() && now-time.Duration(h.since.Load()) >= stalledAfter {
			stalled = append(stalled, h)
		}
	}
	slices.SortFunc(stalled, func(x, y *Hold) int { return cmp.Compare(x.since.Load(), y.since.Load()) })
	for _, h := range stalled {
		if over <= 0 {
			return
		}
		over -= h.own + b.freedBy(h)
		h.over.Store(true)
		h.cut()
		b.refused(CutOff)
	}
}

// freedBy is the part of the shared memory that ending h frees; mu is held.
func (b *Budget) freedBy(h *Hold) int64 {
	if h.shared == nil {
		return 0
	}
	s := b.shared[h.shared]
	return s.bytes / int64(s.holds)
}
