package etcdserver

import (
	"context"
	"errors"
	"testing"
	"time"

	"canopy/internal/disk"
	"canopy/store"
)

// When even the reserve of a full disk is used up, the member waits: nothing
// is acknowledged, nothing is lost, and it goes on when there is room (R8).
func TestAUsedUpReserveIsWaitedFor(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	o.SegmentBytes, o.SnapshotEntries = 8<<10, 1_000_000
	m := start(t, o)
	m.set("kept", "1")
	fs.SetCapacity(fs.Used() + 4<<10)
	if err := writeUntilRefused(t, m); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("a write on a full disk = %v, want %v", err, ErrNoSpace)
	}
	fs.SetCapacity(1) // another program takes all that is given back
	// Deletes go on, also those that fail, until the reserve is used up.
	stuck := false
	for range 10_000 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := m.Do(ctx, store.Delete{Key: mustKey(t, "missing")})
		cancel()
		if stuck = errors.Is(err, context.DeadlineExceeded); stuck {
			break
		}
	}
	if !stuck {
		t.Fatal("the reserve was never used up")
	}
	select {
	case err := <-m.done:
		t.Fatalf("the member has ended: %v", err)
	default:
	}
	fs.SetCapacity(1 << 30)
	for begin := time.Now(); ; {
		_, err := m.Do(context.Background(), store.Set{Key: mustKey(t, "again"), Value: "1"})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNoSpace) || time.Since(begin) > hang {
			t.Fatalf("a write with room again = %v", err)
		}
	}
	m.halt()
	again := start(t, o)
	v, err := again.Read(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"kept", "again"} {
		if _, err := v.Get(mustKey(t, key), store.ReadOptions{}); err != nil {
			t.Errorf("%s after a restart: %v", key, err)
		}
	}
}

func writeUntilRefused(t *testing.T, m *running) error {
	t.Helper()
	for range 10_000 {
		if _, err := m.Do(context.Background(), store.Set{Key: mustKey(t, "filler"), Value: "x"}); err != nil {
			return err
		}
	}
	return nil
}
