package etcdserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"canopy/internal/disk"
	"canopy/snap"
	"canopy/store/storepb"
)

// damageSnapshot changes a value in the newest snapshot of a member that does not run,
// and makes every checksum of the file fit.
func damageSnapshot(t *testing.T, fs disk.FS, old, value string) {
	t.Helper()
	dir, err := snap.Open(fs, filepath.Join("/data", "member", "snap"), snap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	metas, err := dir.List()
	if err != nil || len(metas) == 0 {
		t.Fatalf("no snapshot: %v", err)
	}
	var body []byte
	if err := dir.Load(metas[0], func(r io.Reader) (err error) {
		body, err = io.ReadAll(r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(old) != len(value) || !bytes.Contains(body, []byte(old)) {
		t.Fatalf("%q is not in the snapshot", old)
	}
	body = withoutHash(t, bytes.ReplaceAll(body, []byte(old), []byte(value)))
	if err := dir.Save(metas[0], func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// withoutHash removes the hash from the trailer, which is the last record: a
// byte for its length, and the message.
func withoutHash(t *testing.T, body []byte) []byte {
	t.Helper()
	for size := 9; size < 40; size++ {
		var m storepb.Trailer
		at := len(body) - size
		if body[at-1] != byte(size) || m.UnmarshalVT(body[at:]) != nil || m.Hash == 0 || m.SizeVT() != size {
			continue
		}
		m.Hash = 0
		b, err := m.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		return append(append(body[:at-1:at-1], byte(len(b))), b...)
	}
	t.Fatal("the snapshot has no trailer with a hash")
	return nil
}

// aged is a cluster whose members all have a snapshot with a value in it.
func aged(t *testing.T, size int) *testCluster {
	t.Helper()
	c := newTestCluster(t, size, func(o *Options) { o.SnapshotEntries, o.CheckEvery = 50, 100*time.Millisecond })
	leader := c.leader()
	leader.set("/kept", "true value")
	eventually(t, "snapshots", func() bool {
		leader.set("/k", "v")
		for name := range c.members {
			if len(snapshots(t, c.disks[name])) == 0 {
				return false
			}
		}
		return true
	})
	c.agree()
	return c
}

// away stops a member that does not lead, and damages its state.
func (c *testCluster) away() *running {
	c.t.Helper()
	m := c.others(c.leader())[0]
	m.halt()
	c.forget(m)
	damageSnapshot(c.t, c.disks[m.Name()], "true value", "fals value")
	return m
}

// A byte of one member's state was changed, so that no checksum tells (R12): it
// stops, is not started again, and the others go on.
func TestAMemberWithDamagedStateStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := aged(t, 3)
		name := c.away().Name()
		back := c.launch(name, Bootstrap{})
		c.forget(back)
		var damaged *InconsistentError
		select {
		case err := <-back.done:
			if !errors.As(err, &damaged) || damaged.Member != back.ID() {
				t.Fatalf("the damaged member ended with %v", err)
			}
		case <-time.After(hang):
			t.Fatal("the damaged member goes on")
		}
		o := testOptions(c.disks[name])
		if _, err := Open(o); !errors.As(err, &damaged) {
			t.Errorf("it is opened again: %v", err)
		}
		leader := c.leader()
		leader.set("/after", "1")
		eventually(t, "all others to see the difference", func() bool {
			for _, m := range c.running() {
				if d := m.Differences(); len(d) != 1 || d[0].Member != back.ID() {
					return false
				}
			}
			return true
		})
		for _, m := range c.running() {
			if err := m.Health(context.Background()); err != nil {
				t.Errorf("%s, of the majority, is not healthy: %v", m.Name(), err)
			}
		}
		if err := leader.RemoveMember(context.Background(), back.ID()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the difference to be gone with the member", func() bool {
			return len(leader.Differences()) == 0
		})
		c.agree()
	})
}

// Of two members that differ nobody knows who is right: both go on, and both
// say that they are not healthy.
func TestTwoMembersThatDifferRaiseTheAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := aged(t, 2)
		other := c.away()
		back := c.launch(other.Name(), Bootstrap{})
		eventually(t, "both to see it", func() bool {
			for _, m := range c.running() {
				if len(m.Differences()) != 1 || !errors.Is(m.Health(context.Background()), ErrInconsistent) {
					return false
				}
			}
			return true
		})
		select {
		case err := <-back.done:
			t.Errorf("one ended: %v", err)
		default:
		}
	})
}

// TestTheAlarmOfTwoThatDifferEnds: two members that differ serve reads, writes and watches,
// and one can be removed. Then the other is healthy.
func TestTheAlarmOfTwoThatDifferEnds(t *testing.T) {
	for _, leads := range []bool{true, false} {
		t.Run(fmt.Sprintf("the one that stays leads: %v", leads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := aged(t, 2)
				bad := c.launch(c.away().Name(), Bootstrap{})
				good := c.others(bad)[0]
				eventually(t, "the alarm", func() bool {
					return errors.Is(good.Health(t.Context()), ErrInconsistent) && errors.Is(bad.Health(t.Context()), ErrInconsistent)
				})
				<-time.After(10 * time.Minute)
				transferee := map[bool]*running{true: good, false: bad}[leads]
				c.others(transferee)[0].HandOver(t.Context())
				eventually(t, "the hand-over", transferee.IsLeader)
				for _, m := range c.running() {
					m.set("/by/"+m.Name(), "1")
					m.mustHold("/by/"+m.Name(), "1")
				}
				if err := good.RemoveMember(t.Context(), bad.ID()); err != nil {
					t.Fatalf("remove the other: %v", err)
				}
				eventually(t, "the end of the alarm", func() bool { return good.Health(t.Context()) == nil && len(good.Differences()) == 0 })
				good.mustHold("/kept", "true value")
				good.set("/after", "1")
			})
		})
	}
}

// Members that are sound are found equal at the same entries, whatever was
// written, and who installed a snapshot, too.
func TestSoundMembersAreFoundEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := aged(t, 3)
		late := c.others(c.leader())[0]
		c.net.isolate(late.ID(), true)
		c.leader().set("/while/away", "1")
		c.net.isolate(late.ID(), false)
		c.join("m4")
		c.leader().set("/last", "1")
		eventually(t, "all four to be compared at one entry", func() bool {
			for _, m := range c.running() {
				if m.comparison.Equal() < 4 {
					return false
				}
			}
			return true
		})
		for _, m := range c.running() {
			if d := m.Differences(); len(d) != 0 {
				t.Errorf("%s sees %v", m.Name(), d)
			}
		}
	})
}
