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
// Should another program have taken the room, so that no snapshot fits, they go
// on in what the log has already. Then they are refused, too: they may remove
// nothing, and another segment would leave even less to the snapshot.
type space struct {
	room    func() (disk.Room, error) // of the disk that snapshots are on
	segment int64                     // bytes of one

	snapshot atomic.Int64  // bytes of the newest snapshot's file
	left     atomic.Int64  // bytes that the log takes without more of the disk
	level    atomic.Uint32 // written by the log writer
	short    chan struct{} // to the snapshotter; has room for one
	stopped  <-chan struct{}

	// mu guards the fields below, for a few lines.
	mu       sync.Mutex
	free     int64         // bytes
	needed   int64         // bytes that have to be free
	inFlight int64         // bytes of log for commands that were admitted and have no answer
	hopeful  bool          // a snapshot is being written, and it probably fits
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

// logRoom is how the log stands.
type logRoom struct {
	segments int
	left     int64 // bytes that it takes without more of the disk
	reserved bool  // one segment of that is in reserve
}

// look measures, for a log, and returns the level. Only if a snapshot did not help is it spaceFull. Nothing is
// admitted before it is written: its room is not to be used up meanwhile.
func (s *space) look(l logRoom, e effort) uint32 {
	room, err := s.room()
	if err != nil {
		room = disk.Endless // what is written will tell
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.level.Load()
	s.free, s.needed = room.Free, s.snapshot.Load()+int64(l.segments+2)*s.segment
	s.left.Store(l.left)
	s.hopeful = s.hopeful && e == making
	level := spaceAmple
	switch enough := l.reserved && s.free >= s.needed && e != making; {
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

// allowsSpare tells whether a segment leaves room for a snapshot, which may be
// longer than the last one by so much.
func (s *space) allowsSpare(growth int64) bool {
	room, err := s.room()
	return err != nil || room.Free-s.segment >= s.snapshot.Load()+growth
}

// little is by how much a snapshot may be longer than one that was just written.
func (s *space) little() int64 { return s.segment / 4 }

// outgrown notes that a snapshot is longer than all the room that there is.
func (s *space) outgrown() {
	if room, err := s.room(); err == nil {
		s.snapshot.Store(max(s.snapshot.Load(), room.Free))
	}
}

// call has a snapshot written and the log released. That is hopeful unless the
// last one did not fit.
func (s *space) call(hopeful bool) {
	s.mu.Lock()
	s.hopeful = hopeful
	s.mu.Unlock()
	select {
	case s.short <- struct{}{}:
	default:
	}
}

// enter admits a command that takes so many bytes of log, or waits until there is
// room for it. If ctx ends before that, the error is ErrNoSpace.
func (s *space) enter(ctx context.Context, size int64, grows bool) error {
	for {
		admitted, changed, err := s.tryEnter(size, grows)
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

func (s *space) tryEnter(size int64, grows bool) (admitted bool, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fits, futile := s.judgeShrinking(size)
	if grows {
		fits, futile = s.judgeGrowing(size)
	}
	switch {
	case fits:
		s.inFlight += size
		return true, nil, nil
	case futile:
		return false, nil, ErrNoSpace
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return false, s.changed, nil
}

// judgeGrowing and judgeShrinking tell whether a command fits, and if not,
// whether waiting is futile. mu is held.
func (s *space) judgeGrowing(size int64) (fits, futile bool) {
	level := s.level.Load()
	room := min((s.free-s.needed)/2, s.segment)
	return level < spaceTight && (s.inFlight == 0 || s.inFlight+size <= room), level == spaceFull
}

func (s *space) judgeShrinking(size int64) (fits, futile bool) {
	room := s.left.Load() - s.segment/ownShare
	fits = s.inFlight+size <= room || s.inFlight == 0 && s.level.Load() < spaceTight
	return fits, size > room && s.full() && !s.hopeful
}

// logBytes is the most that a command takes of the log: it may be alone in its sectors.
func logBytes(command int) int64 { return int64(command) + 1<<10 }

// ownShare is the part of a segment that no client's command takes: it is for
// changes of members, elections and expiry.
const ownShare = 2

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
