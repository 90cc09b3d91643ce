package logwriter

import (
	"fmt"
	"time"
)

// roomPause is how many times longer than the last one took the next snapshot
// on a full disk is put off, unless nothing can go on without it.
const roomPause = 9

// release does what the snapshotter asks for.
func (w *Writer) release(r release) error {
	if r.keep > 0 {
		if err := w.log.Release(uint64(r.upTo), r.keep); err != nil {
			return fmt.Errorf("etcdserver: purge the log: %w", err)
		}
	}
	switch {
	case r.lend:
		w.lent = w.log.Reserved()
		if err := w.log.GiveBack(); err != nil {
			return fmt.Errorf("etcdserver: make room for a snapshot: %w", err)
		}
	case r.made != nil:
		w.making, w.next = false, time.Now().Add(roomPause*r.made.Took)
		w.reserveAfter(*r.made)
	}
	if r.done != nil {
		close(r.done)
	}
	if r.made != nil {
		w.measure(roomMade)
	} else {
		w.measure(noEffort)
	}
	return nil
}

// reserveAfter makes the spare segment after an attempt to make room. If a snapshot
// did not fit, the log takes no more of the disk: the next attempt needs it.
func (w *Writer) reserveAfter(made RoomMade) {
	lent := w.lent
	w.unfit, w.lent = made.Unfit, false
	switch {
	case made.Unfit:
		w.space.outgrown()
		if lent {
			w.reserve()
		}
	case made.Saved && w.log.Segments() > 1 && !w.space.allowsSpare(w.space.little()):
		w.makeRoom() // the end of the log was not applied yet, and another segment would take the next snapshot's room
	default:
		w.reserve()
	}
}

// reserve makes the spare segment, if there is room for it. If it fails, measure
// finds no spare segment, and the next Sync has the error.
func (w *Writer) reserve() { _ = w.log.Reserve() }

// reserveIfAllowed makes the spare segment if that leaves room for a snapshot
// that is longer than the last one by so much.
func (w *Writer) reserveIfAllowed(growth int64) {
	if !w.log.Reserved() && w.space.allowsSpare(growth) {
		w.reserve()
	}
}

// retryRoom looks whether there is room by now. If the log is stuck there is no
// reason to save the work of another snapshot.
func (w *Writer) retryRoom(stuck bool) {
	if w.making {
		return
	}
	w.reserveIfAllowed(w.space.little())
	if w.measure(noEffort) == spaceFull && (stuck || time.Now().After(w.next)) {
		w.makeRoom()
	}
}

// measure measures the room on the disk. It calls for a snapshot if there is too
// little room, or if the log of a full disk has grown. The log takes no more of
// the disk then, since a snapshot needs that room.
func (w *Writer) measure(e effort) uint32 {
	if w.making {
		e = makingRoom
	}
	grown := w.log.Segments() > w.segments
	w.segments = w.log.Segments()
	level := w.space.measure(logRoom{
		segments: w.segments, segment: w.log.SegmentBytes(), left: w.log.Left(), reserved: w.log.Reserved(),
	}, e)
	w.log.Frugal(level >= spaceTight)
	if level == spaceTight || level == spaceFull && grown {
		w.makeRoom()
	}
	if full := level == spaceFull; full != w.told && level != spaceTight {
		w.told = full
		w.events.DiskFull(full)
		wake(w.front.fullChanged)
	}
	return level
}

// makeRoom calls for a snapshot, and for the release of the log that it covers.
func (w *Writer) makeRoom() {
	if !w.making {
		w.making = true
		w.space.call(!w.unfit)
	}
}
