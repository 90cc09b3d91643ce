// Package memory bounds the memory that clients can make this process hold.
//
// A Budget counts everything whose size or number clients decide: connections, headers, bodies, requests that wait,
// answers that are being written, events that a slow watcher keeps alive. What is not small takes its bytes from the
// budget first, and is refused if there are none left. What is small is not counted by itself: it is covered by what its
// connection takes.
//
// Most of it comes back soon, since time-outs end it. An answer comes back when its client has taken it, and that can
// be never. So it is noted as a Hold. When the budget is used up, clients that have not taken a piece of their answer
// for a second are cut off, those that have not for longest first.
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
	// reservePart is the part of the budget that is for connections alone, so that there is room to ask for health and
	// metrics, to delete, and to change members, when all else is used up.
	reservePart = 8
	// oneRequestPart is the part of the budget that one request counts at most, so that a large request is not refused
	// for ever where the budget is small.
	oneRequestPart = 2
	// stalledAfter is how long a client may leave a piece of its answer when the budget is used up.
	stalledAfter = time.Second
	// relieveEvery is how often stalled clients are looked for. What they held needs a moment to come back.
	relieveEvery = 50 * time.Millisecond
)

// ErrUsedUp tells a client to come again later.
var ErrUsedUp = errors.New("etcdserver: the memory for requests is used up")

// A Budget is used by any number of goroutines. Take and Give take no lock.
type Budget struct {
	max     int64
	refused func(Reason)
	used    atomic.Int64

	// mu guards the fields below, for the length of one method; those that stall are cut off under it.
	mu       sync.Mutex
	holds    map[*Hold]struct{}
	shared   map[any]*share
	relieved time.Time // when stalled clients were looked for last
}

// A Reason says how a client learned that the budget is used up.
type Reason uint8

// The reasons.
const (
	Refused Reason = iota // a request or connection was refused
	CutOff                // a client that did not take its answer was cut off
)

// share is memory that several answers have in common.
type share struct {
	bytes int64
	holds int
}

// New makes a budget of max bytes. refused is told of each client that was turned away, and must return soon; it may
// be nil.
func New(max int64, refused func(Reason)) *Budget {
	if refused == nil {
		refused = func(Reason) {}
	}
	return &Budget{max: max, refused: refused, holds: map[*Hold]struct{}{}, shared: map[any]*share{}}
}

// Max is the size of the budget in bytes.
func (b *Budget) Max() int64 { return b.max }

// Used is what is taken from it, in bytes. It can be more than Max for a moment.
func (b *Budget) Used() int64 { return b.used.Load() }

// Exhausted tells whether nothing but connections may take more.
func (b *Budget) Exhausted() bool { return b.used.Load() > b.max-b.max/reservePart }

// Share gives what a request of so many bytes is to count: it may be the only one and need more than there is.
func (b *Budget) Share(n int64) int64 { return min(n, b.max/oneRequestPart) }

// Take takes n bytes, unless the budget is used up.
func (b *Budget) Take(n int64) bool { return b.take(n, b.max-b.max/reservePart) }

// TakeReserved takes n bytes for a connection, which may come from the reserve.
func (b *Budget) TakeReserved(n int64) bool { return b.take(n, b.max) }

// TakeAnyway takes n bytes, for which others are on the way back.
func (b *Budget) TakeAnyway(n int64) { b.used.Add(n) }

// Try is Take for who can do without: nobody is cut off for it, and no refusal is counted.
func (b *Budget) Try(n int64) bool { return b.try(n, b.max-b.max/reservePart) }

func (b *Budget) try(n, limit int64) bool {
	// It is not added first and taken away again: for that moment, others would be refused for no reason.
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

// A Hold is memory that is kept for as long as a client takes an answer.
type Hold struct {
	budget *Budget
	own    int64
	shared any
	cut    func()
	since  atomic.Int64 // when the client was given the present piece, Unix time in ns
	over   atomic.Bool  // it was cut
}

// An Answer says what a client makes us keep.
type Answer struct {
	Own    int64  // bytes for this client alone
	Shared any    // names memory that other answers may share, and that is counted once; nil: none
	Bytes  int64  // of what is shared
	Cut    func() // ends the writing of the answer; it is never called after End, and must not wait for End
}

// Hold notes that a client is given an answer. It is refused if the budget is used up.
func (b *Budget) Hold(a Answer) (*Hold, bool) {
	if !b.Take(a.Own) {
		return nil, false
	}
	h := b.note(a)
	if a.Bytes == 0 || !b.Exhausted() {
		return h, true
	}
	h.End()
	b.relieve(a.Bytes)
	b.refused(Refused)
	return nil, false
}

// HoldAnyway notes it even if the budget is used up, for memory that is there already. Others may be cut off for it.
func (b *Budget) HoldAnyway(a Answer) *Hold {
	b.used.Add(a.Own)
	h := b.note(a)
	if b.Exhausted() {
		b.relieve(a.Own + a.Bytes)
	}
	return h
}

func (b *Budget) note(a Answer) *Hold {
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

// Progress notes that the client has taken a piece, and is given the next one.
func (h *Hold) Progress() { h.since.Store(time.Now().UnixNano()) }

// Over tells whether the client was cut off.
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

// relieve cuts clients off that do not take their answers, until n bytes and the reserve will come back.
func (b *Budget) relieve(n int64) { b.cutOff(b.used.Load() + n - (b.max - b.max/reservePart)) }

// cutOff cuts clients off that do not take their answers, until so many bytes will come back.
func (b *Budget) cutOff(over int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.relieved) < relieveEvery {
		return
	}
	b.relieved = now
	var stalled []*Hold
	for h := range b.holds {
		if !h.Over() && now.Sub(time.Unix(0, h.since.Load())) >= stalledAfter {
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

// freedBy is what is shared with h, if nobody else needs it; mu is held.
func (b *Budget) freedBy(h *Hold) int64 {
	if h.shared == nil {
		return 0
	}
	s := b.shared[h.shared]
	return s.bytes / int64(s.holds)
}
