package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"canopy/internal/disk"
	"canopy/internal/rng"
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
	// Changes of members go on until the reserve is used up.
	stuck := false
	for n := range 10_000 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := m.UpdateMember(ctx, m.ID(), []string{fmt.Sprintf("http://elsewhere:%d", n+1)})
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

// TestWhenNoSnapshotFits: another program has taken the room that the next snapshot needs. Deletes
// of keys that are missing take no more of it than the log has already, then they are refused at
// once. All comes back when there is room.
func TestWhenNoSnapshotFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const segment = 32 << 10
		fs := disk.NewMem()
		o := testOptions(fs)
		o.SegmentBytes, o.SnapshotEntries = segment, 1_000_000
		d := &smallDisk{running: start(t, o), o: o, fs: fs, value: 10_000, rng: rng.New(t)}
		for n := range 100 { // about 500 kB of snapshot: the values are in hexadecimal
			if err := d.put(fmt.Sprintf("/fill/%d", n)); err != nil {
				t.Fatal(err)
			}
		}
		fs.SetCapacity(fs.Used() + 8*segment)
		before := fs.Used()
		for life := range 6 {
			if refused := d.deleteMissing(16 * segment / 1000); refused == 0 {
				t.Errorf("life %d: no delete was refused, and %d bytes are used of %d", life, fs.Used(), before+8*segment)
			}
			if taken := fs.Used() - before; taken > segment {
				t.Errorf("life %d: the log took %d bytes of the room that the next snapshot needs", life, taken)
			}
			d.restart()
		}
		fs.SetCapacity(1 << 30)
		eventually(t, "deletes to come back", func() bool { return d.deleteMissing(1) == 0 })
		eventually(t, "writes to come back", func() bool { return d.put("/again") == nil })
		if refused := d.deleteMissing(16 * segment / 1000); refused > 0 {
			t.Errorf("%d deletes were refused with room again", refused)
		}
	})
}

// deleteMissing deletes a key that is missing so many times with each of 16 clients, and returns how many were refused.
func (d *smallDisk) deleteMissing(times int) int {
	var refused atomic.Int64
	key := mustKey(d.t, "/missing"+strings.Repeat("x", 500))
	d.together(func(n int) bool {
		_, err := d.Do(context.Background(), store.Delete{Key: key})
		var missing *store.Error
		if errors.Is(err, ErrNoSpace) {
			refused.Add(1)
		} else if !errors.As(err, &missing) {
			d.t.Errorf("delete %d of a missing key: %v", n, err)
			return false
		}
		return n < times-1
	})
	return int(refused.Load())
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

// TestMembersChangeOnFullDisks: while the disks of all members are full, members are added,
// updated and removed, and writes come back when there is room.
func TestMembersChangeOnFullDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) { o.SegmentBytes, o.SnapshotEntries = 8<<10, 1_000_000 })
		for _, fs := range c.disks {
			fs.SetCapacity(fs.Used() + 32<<10)
		}
		asked := c.leader()
		if err := writeUntilRefused(t, asked); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("a write on a full disk = %v, want %v", err, ErrNoSpace)
		}
		for n := range 100 {
			added, err := asked.AddMember(t.Context(), []string{fmt.Sprintf("http://nowhere:%d", n+1)})
			if err != nil {
				t.Fatalf("add %d: %v", n, err)
			}
			if err := asked.UpdateMember(t.Context(), added.ID, []string{fmt.Sprintf("http://elsewhere:%d", n+1)}); err != nil {
				t.Fatalf("update %d: %v", n, err)
			}
			if err := asked.RemoveMember(t.Context(), added.ID); err != nil {
				t.Fatalf("remove %d: %v", n, err)
			}
		}
		if _, err := asked.Do(t.Context(), store.Set{Key: mustKey(t, "/k"), Value: "1"}); !errors.Is(err, ErrNoSpace) {
			t.Errorf("a write on a disk that is full still = %v, want %v", err, ErrNoSpace)
		}
		for _, fs := range c.disks {
			fs.SetCapacity(1 << 30)
		}
		for _, m := range c.running() {
			eventually(t, "writes to come back", func() bool {
				_, err := m.Do(t.Context(), store.Set{Key: mustKey(t, "/k"), Value: "1"})
				return err == nil
			})
		}
		c.agree()
	})
}
