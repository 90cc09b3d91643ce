package logwriter

import (
	"context"
	"sync"
	"sync/atomic"

	"canopy/etcdserver/outcome"
	"canopy/internal/disk"
)

// Space is the room on the disk of a member. Room is always kept for the next
// snapshot, since a snapshot gives room back: the log before it can be removed. A
// snapshot is as long as the last one was, and grows by no more than the log does.
// While there is less room than that,
//
//   - a snapshot is written at once, and all log that it covers is removed;
//     commands that make the state grow wait for that;
//   - if that was not enough, they are refused, until there is room.
//
// Commands that make the state shrink go on in either case. Each segment that
// they fill is removed after the next snapshot, which is no longer than the last.
// If another program has taken the room, so that no snapshot fits, they go on in
// the segments that the log has already. Then they are refused, too: they may remove
// nothing, and another segment would leave even less to the snapshot.
//
// The log writer measures, and calls for snapshots. Any goroutine may call the
// exported methods.
type Space struct {
	room     func() (disk.Room, error) // of the disk that snapshots are on
	segment  int64                     // bytes of one, at most
	ample    int64                     // bytes that all requests in flight can take, twice
	stopped  <-chan struct{}
	short    chan struct{} // to the snapshotter; has room for one
	snapshot atomic.Int64  // bytes of the newest snapshot's file
	left     atomic.Int64  // bytes that the log takes without more of the disk
	level    atomic.Uint32 // written by the log writer

	// mu guards the fields below, for a few lines.
	mu       sync.Mutex
	free     int64         // bytes
	needed   int64         // bytes that have to be free
	own      int64         // bytes of the log that no client's command takes
	inFlight int64         // bytes of log for commands that were admitted and have no answer
	hopeful  bool          // a snapshot is being written, and it probably fits
	changed  chan struct{} // closed when any of these, or the level, has another value; nil: nobody waits
}

// The levels of space.
const (
	spaceAmple  uint32 = iota // all that can be in flight fits
	spaceNarrow               // what is in flight is counted
	spaceTight                // a snapshot is being written, which may make room
	spaceFull                 // it did not
)

func newSpace(o Options) *Space {
	s := &Space{room: o.Room, segment: o.Segment, own: o.Segment / ownShare, ample: 2 * o.InFlightMax, stopped: o.Stopped, short: make(chan struct{}, 1)}
	s.snapshot.Store(o.Snapshot)
	return s
}

// Status is the room on a member's disk, in bytes.
type Status struct {
	Full   bool  // writes are refused until Free is at least Needed
	Free   int64 // measured at most a second ago; math.MaxInt64 if that is not known
	Needed int64 // by the next snapshot and the log until then
}

// Status is for operators.
func (s *Space) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Full: s.Full(), Free: s.free, Needed: s.needed}
}

// Ample tells whether the disk has room for all requests that can be in flight. Then
// Enter and Leave need not be called.
func (s *Space) Ample() bool { return s.level.Load() == spaceAmple }

// Full tells whether commands that make the state grow are refused.
func (s *Space) Full() bool { return s.level.Load() == spaceFull }

// effort is what is done about room.
type effort uint8

const (
	noEffort   effort = iota
	makingRoom        // a snapshot is being written, and the log released
	roomMade          // that was done just now
)

// logRoom is the state of the log.
type logRoom struct {
	segments int
	segment  int64 // bytes of the newest one
	left     int64 // bytes that it takes without more of the disk
	reserved bool  // one segment of that is in reserve
}

// measure measures the disk, for a log, and returns the level. It is spaceFull only if a
// snapshot did not help. While the snapshot is written, no command is admitted that could
// take its room.
func (s *Space) measure(l logRoom, e effort) uint32 {
	room, err := s.room()
	if err != nil {
		room = disk.Endless // the next write has the error
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.level.Load()
	s.free, s.needed = room.Free, s.snapshot.Load()+int64(l.segments+2)*s.segment
	s.left.Store(l.left)
	s.own = min(l.segment, s.segment) / ownShare
	s.hopeful = s.hopeful && e == makingRoom
	level := spaceAmple
	switch enough := l.reserved && s.free >= s.needed && e != makingRoom; {
	case !enough && (e == roomMade || before == spaceFull):
		level = spaceFull
	case !enough:
		level = spaceTight
	case s.free-s.needed < s.ample:
		level = spaceNarrow
	}
	s.level.Store(level)
	s.wakeAll()
	return level
}

// allowsSpare tells whether a segment leaves room for a snapshot, which may be
// longer than the last one by so much.
func (s *Space) allowsSpare(growth int64) bool {
	room, err := s.room()
	return err != nil || room.Free-s.segment >= s.snapshot.Load()+growth
}

// little is by how much a snapshot may be longer than one that was just written.
func (s *Space) little() int64 { return s.segment / 4 }

// outgrown records that a snapshot is longer than all the room that there is.
func (s *Space) outgrown() {
	if room, err := s.room(); err == nil {
		s.snapshot.Store(max(s.snapshot.Load(), room.Free))
	}
}

// call asks for a snapshot, and for the release of the log. It is hopeful unless the
// last snapshot did not fit.
func (s *Space) call(hopeful bool) {
	s.mu.Lock()
	s.hopeful = hopeful
	s.mu.Unlock()
	wake(s.short)
}

// Short receives a value when a snapshot has to be written at once. The receiver
// answers with Front.ReportRoom.
func (s *Space) Short() <-chan struct{} { return s.short }

// SnapshotSaved is told the bytes of the newest snapshot's file.
func (s *Space) SnapshotSaved(bytes int64) { s.snapshot.Store(bytes) }

// Enter admits a command of so many bytes, or waits until there is room for it; Leave
// has to be called when it is answered. If ctx ends before there is room, the error is
// ErrNoSpace, or ErrTooBusy for a command that shrinks the state: the snapshot that it
// waited for takes longer, and will make room.
func (s *Space) Enter(ctx context.Context, size int, grows bool) error {
	for {
		admitted, changed, err := s.tryEnter(logBytes(size), grows)
		if admitted || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if grows {
				return outcome.ErrNoSpace
			}
			return outcome.ErrTooBusy
		case <-s.stopped:
			return outcome.ErrStopped
		}
	}
}

func (s *Space) tryEnter(size int64, grows bool) (admitted bool, changed <-chan struct{}, err error) {
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
		return false, nil, outcome.ErrNoSpace
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return false, s.changed, nil
}

// judgeGrowing and judgeShrinking tell whether a command fits, and if not,
// whether waiting is futile. mu is held.
func (s *Space) judgeGrowing(size int64) (fits, futile bool) {
	level := s.level.Load()
	room := min((s.free-s.needed)/2, s.segment)
	return level < spaceTight && (s.inFlight == 0 || s.inFlight+size <= room), level == spaceFull
}

func (s *Space) judgeShrinking(size int64) (fits, futile bool) {
	room := s.left.Load() - s.own
	fits = s.inFlight+size <= room || s.inFlight == 0 && s.level.Load() < spaceTight
	return fits, size > room && s.Full() && !s.hopeful
}

// logBytes is the most that a command takes of the log: it may be alone in its sectors.
func logBytes(command int) int64 { return int64(command) + 1<<10 }

// ownShare is the part of a segment that no client's command takes: it is for
// changes of members, elections and expiry.
const ownShare = 2

// Leave ends what Enter began.
func (s *Space) Leave(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight -= logBytes(size)
	s.wakeAll()
}

// wakeAll lets those who wait try again. mu is held.
func (s *Space) wakeAll() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
