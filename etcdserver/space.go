package etcdserver

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"canopy/internal/disk"
)

// Room on the disk is kept for what gives room back. A snapshot lets the log
// before it go, so there must always be room to write one: it is as long as the
// last one was, and grows by no more than the log does. While there is not,
//
//   - a snapshot is written at once, and all that it covers is released;
//     commands that make the state grow wait for that;
//   - if that was not enough, they are refused, until there is room.
//
// Commands that make the state shrink go on in either case. Each segment that
// they fill is released by the next snapshot, which is no longer than the last.
type space struct {
	room    func() (disk.Room, error) // of the disk that snapshots are on
	segment int64                     // bytes of one

	snapshot atomic.Int64  // bytes of the newest snapshot's file
	level    atomic.Uint32 // written by the log writer
	short    chan struct{} // to the snapshotter; has room for one
	stopped  <-chan struct{}

	// mu guards the fields below, for a few lines.
	mu       sync.Mutex
	free     int64         // bytes
	needed   int64         // bytes that have to be free
	inFlight int64         // bytes of commands that were admitted and have no answer
	changed  chan struct{} // closed when any of these, or the level, is another one; nil: nobody waits
}

// The levels of space.
const (
	spaceAmple  uint32 = iota // all that can be in flight fits
	spaceNarrow               // what is in flight is counted
	spaceTight                // a snapshot is on its way, which may make room
	spaceFull                 // it did not
)

// ampleBytes is more than all requests that wait have.
const ampleBytes = 2 * waiterShards * shardBytesMax

func newSpace(segment int64) *space {
	return &space{
		room:    func() (disk.Room, error) { return disk.Endless, nil },
		segment: segment, short: make(chan struct{}, 1),
	}
}

// Space is the room on a member's disk, in bytes.
type Space struct {
	Full   bool  // writes are refused until Free is at least Needed
	Free   int64 // as of the last look, at most a second ago; math.MaxInt64 if that is not known
	Needed int64 // by the next snapshot and the log until then
}

func (s *space) status() Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Space{Full: s.full(), Free: s.free, Needed: s.needed}
}

func (s *space) full() bool { return s.level.Load() == spaceFull }

// effort is what is done about room.
type effort uint8

const (
	noEffort effort = iota
	making          // a snapshot is being written, and the log released
	made            // that was done just now
)

// look measures, for a log of so many segments, with one in reserve or not, and
// returns the level. Only if a snapshot did not help is it spaceFull. Nothing is
// admitted before it is written: its room is not to be used up meanwhile.
func (s *space) look(segments int, reserved bool, e effort) uint32 {
	room, err := s.room()
	if err != nil {
		room = disk.Endless // what is written will tell
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.level.Load()
	s.free, s.needed = room.Free, s.snapshot.Load()+int64(segments+2)*s.segment
	level := spaceAmple
	switch enough := reserved && s.free >= s.needed && e != making; {
	case !enough && (e == made || before == spaceFull):
		level = spaceFull
	case !enough:
		level = spaceTight
	case s.free-s.needed < ampleBytes:
		level = spaceNarrow
	}
	s.level.Store(level)
	s.wake()
	return level
}

// allowsSpare tells whether a segment leaves room for a snapshot, which may be a
// little longer than the last one.
func (s *space) allowsSpare() bool {
	room, err := s.room()
	return err != nil || room.Free-s.segment >= s.snapshot.Load()+s.segment/4
}

// call has a snapshot written and the log released.
func (s *space) call() {
	select {
	case s.short <- struct{}{}:
	default:
	}
}

// enter admits a command that makes the state grow, or waits until there is
// room for it. If ctx ends before that, the error is ErrNoSpace.
func (s *space) enter(ctx context.Context, size int64) error {
	for {
		admitted, changed, err := s.tryEnter(size)
		if admitted || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ErrNoSpace
		case <-s.stopped:
			return ErrStopped
		}
	}
}

func (s *space) tryEnter(size int64) (admitted bool, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	level := s.level.Load()
	switch {
	case level == spaceFull:
		return false, nil, ErrNoSpace
	case level != spaceTight && (s.inFlight == 0 || s.inFlight+size <= min((s.free-s.needed)/2, s.segment)):
		s.inFlight += size
		return true, nil, nil
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return false, s.changed, nil
}

func (s *space) leave(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight -= size
	s.wake()
}

// wake has those who wait try again. mu is held.
func (s *space) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// fit takes no more of a small disk for one segment, and for past events, than
// leaves most of it to the state.
func (o Options) fit(total int64) Options {
	if total == math.MaxInt64 {
		return o
	}
	o.SegmentBytes = min(o.SegmentBytes, max(total/smallestSegment, 64<<10))
	if o.Store.HistoryBytes <= 0 {
		o.Store.HistoryBytes = 64 << 20
	}
	o.Store.HistoryBytes = min(o.Store.HistoryBytes, total/smallestHistory)
	return o
}

// The parts of a disk that a segment of the log, and past events, take at most.
const (
	smallestSegment = 16
	smallestHistory = 16
)

// roomPause is how many times longer than the last one took the next snapshot
// on a full disk is put off, unless nothing can go on without it.
const roomPause = 9
