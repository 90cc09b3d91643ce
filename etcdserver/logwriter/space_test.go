package logwriter

import (
	"context"
	"errors"
	"testing"

	"canopy/etcdserver/outcome"
	"canopy/internal/disk"
)

// TestWhatWaitsForALongSnapshot: while a snapshot makes room, a command that has waited for as long as it may gets an
// answer that says whether waiting longer would help.
func TestWhatWaitsForALongSnapshot(t *testing.T) {
	const segment = 64 << 10
	s := newSpace(Options{Segment: segment, InFlightMax: 1 << 20, Room: func() (disk.Room, error) { return disk.Room{Free: segment}, nil }})
	s.measure(logRoom{segments: 1, segment: segment, left: segment, reserved: true}, roomMade)
	if !s.Full() {
		t.Fatal("the disk is not full")
	}
	admitted := 0
	for err := error(nil); err == nil; admitted++ { // until the log has no room left for more
		waiting, cancel := context.WithCancel(t.Context())
		cancel()
		s.hopeful = true
		err = s.Enter(waiting, 1000, false)
		if err != nil && !errors.Is(err, outcome.ErrTooBusy) {
			t.Errorf("a delete that waited for a snapshot: %v, want %v", err, outcome.ErrTooBusy)
		}
	}
	if admitted < 2 {
		t.Errorf("%d deletes were admitted on a full disk", admitted-1)
	}
	if err := s.Enter(t.Context(), 1000, true); !errors.Is(err, outcome.ErrNoSpace) {
		t.Errorf("a write on a full disk: %v, want %v", err, outcome.ErrNoSpace)
	}
}
