package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	logged "github.com/sirupsen/logrus/hooks/test"

	"canopy/internal/disk"
	"canopy/store"
)

// logs collects what each member of a cluster logs.
type logs map[string]*logged.Hook

// record has a member's lines collected, debug lines included.
func (l logs) record(o *Options) {
	o.Log = quietLog()
	o.Log.SetLevel(logrus.DebugLevel)
	if l[o.Name] == nil {
		l[o.Name] = &logged.Hook{}
	}
	o.Log.AddHook(l[o.Name])
}

// lines gives those of a member that contain all of the texts.
func (l logs) lines(name string, texts ...string) []*logrus.Entry {
	var found []*logrus.Entry
	for _, e := range l[name].AllEntries() {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(e.Message, text) }) {
			found = append(found, e)
		}
	}
	return found
}

// wants demands so many lines of a level.
func (l logs) wants(t *testing.T, n int, level logrus.Level, name string, texts ...string) {
	t.Helper()
	found := l.lines(name, texts...)
	if len(found) != n || slices.ContainsFunc(found, func(e *logrus.Entry) bool { return e.Level != level }) {
		t.Errorf("%s: %d lines with %q, want %d of level %v:\n%s", name, len(found), texts, n, level, l.dump(name))
	}
}

func (l logs) dump(name string) string {
	var b strings.Builder
	for _, e := range l[name].AllEntries() {
		if e.Level < logrus.DebugLevel {
			fmt.Fprintf(&b, "%s %v %s %v\n", e.Time.Format("15:04:05.000"), e.Level, e.Message, e.Data["error"])
		}
	}
	return b.String()
}

// severe gives the warnings and errors of a member.
func (l logs) severe(name string) []string {
	var all []string
	for _, e := range l[name].AllEntries() {
		if e.Level <= logrus.WarnLevel {
			all = append(all, e.Message)
		}
	}
	return all
}

// TestALostQuorumIsTold: the member that is left says whom it misses, at once, each minute, and when it is over; /health
// has the reason.
func TestALostQuorumIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logs{}
		c := newTestCluster(t, 3, lines.record)
		left := c.leader()
		name := left.Name()
		gone := c.others(left)
		for _, m := range gone {
			m.halt()
			c.forget(m)
		}
		time.Sleep(70 * time.Second)
		lines.wants(t, 1, logrus.WarnLevel, name, "lost leader "+left.ID().String(), "was cut off for")
		lines.wants(t, 2, logrus.WarnLevel, name, "there is no leader, for", "1 of 3 members reachable, 2 are needed", gone[0].Name(), gone[1].Name(), errUnreachable.Error())
		for _, m := range gone {
			lines.wants(t, 2, logrus.WarnLevel, name, "is not reachable, for", "("+m.Name()+", http://"+m.Name()+":2380)")
		}
		if err := left.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "1 of 3 members reachable") {
			t.Errorf("health is %v, want that 1 of 3 is reachable", err)
		}
		for _, m := range gone {
			c.launch(m.Name(), Bootstrap{})
		}
		time.Sleep(5 * time.Second)
		lines.wants(t, 1, logrus.InfoLevel, name, "there is a leader again, after 1m")
		lines.wants(t, 2, logrus.InfoLevel, name, "is reachable again, after 1m")
		lines.wants(t, 2, logrus.WarnLevel, name, "there is no leader")
	})
}

// TestWhatIsOrdinaryIsNoWarning: a start, a hand-over, restarts one after the other, and a stop.
func TestWhatIsOrdinaryIsNoWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logs{}
		c := newTestCluster(t, 3, lines.record)
		for _, name := range []string{"m1", "m2", "m3"} {
			m := c.member(name)
			m.Retire(t.Context())
			m.halt()
			time.Sleep(time.Second)
			c.awaitReady(c.launch(name, Bootstrap{}))
			time.Sleep(time.Second)
		}
		for _, m := range c.running() {
			m.halt()
		}
		for name := range lines {
			if got := lines.severe(name); len(got) > 0 {
				t.Errorf("%s warns: %q", name, got)
			}
		}
	})
}

// TestOneLossHasOneTerm: all members name the term in which the leader led.
func TestOneLossHasOneTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logs{}
		c := newTestCluster(t, 3, lines.record)
		c.agree() // all have applied the names of all
		leader := c.leader()
		lost := fmt.Sprintf("lost leader %v at term %d", leader.ID(), leader.Status().Term)
		others := c.others(leader)
		c.forget(leader)
		leader.halt() // without a hand-over
		next := c.leader()
		for _, m := range others {
			lines.wants(t, 1, logrus.WarnLevel, m.Name(), lost, "was cut off for")
			lines.wants(t, 1, logrus.WarnLevel, m.Name(), "lost leader")
			lines.wants(t, 1, logrus.InfoLevel, m.Name(), "elected leader "+next.ID().String(), "("+next.Name()+", http://"+next.Name()+":2380) leads")
		}
	})
}

// TestAFullDiskIsTold at once, each minute, and when there is room; the member is not healthy meanwhile.
func TestAFullDiskIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logs{}
		mem := disk.NewMem()
		o := testOptions(mem)
		lines.record(&o)
		o.SegmentBytes, o.SnapshotEntries = 8<<10, 1_000_000
		m := start(t, o)
		mem.SetCapacity(mem.Used() + 4<<10)
		if err := writeUntilRefused(t, m); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("a write on a full disk = %v, want %v", err, ErrNoSpace)
		}
		time.Sleep(125 * time.Second)
		lines.wants(t, 3, logrus.ErrorLevel, o.Name, "the disk is full", "writes are refused")
		if err := m.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("health is %v, want that the disk is full", err)
		}
		mem.SetCapacity(mem.Used() + 1<<20)
		time.Sleep(5 * time.Second)
		lines.wants(t, 1, logrus.InfoLevel, o.Name, "there is room on the disk again, after 2m")
		if err := m.Health(t.Context()); err != nil {
			t.Errorf("health is %v when there is room", err)
		}
	})
}

// TestAnUnannouncedURLIsTold before the member is published, with the reason in each publish error, once a minute.
func TestAnUnannouncedURLIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logs{}
		given := []string{"http://elsewhere:2380"}
		c := newTestCluster(t, 3, func(o *Options) {
			lines.record(o)
			if o.Name == "m1" {
				o.PeerURLs = []string{"http://m1:2380"}
			}
		})
		lines.wants(t, 0, logrus.WarnLevel, "m1", "the cluster knows this member at")
		c.adjust = func(o *Options) {
			lines.record(o)
			o.PeerURLs = given
		}
		m1 := c.member("m1")
		m1.halt()
		for _, other := range []string{"m2", "m3"} {
			c.net.cut(c.member(other).ID(), m1.ID(), true)
		}
		c.launch("m1", Bootstrap{})
		time.Sleep(5 * time.Second)
		lines.wants(t, 1, logrus.WarnLevel, "m1", "the cluster knows this member at the peer URLs http://m1:2380", given[0])
		time.Sleep(2 * time.Minute)
		lines.wants(t, 2, logrus.WarnLevel, "m1", "publish error", "3 of 3 members reachable", "without a connection to this member, which they know at http://m1:2380")
	})
}

// TestNamesAndAddressesAreCompared: what leads to the same place is no reason to warn.
func TestNamesAndAddressesAreCompared(t *testing.T) {
	for _, same := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			lines := logs{}
			o := testOptions(disk.NewMem())
			lines.record(&o)
			o.PeerURLs = []string{"http://10.0.1.10:2380"}
			o.SamePeers = func(_ context.Context, x, y []string) bool {
				if x[0] != "http://localhost:2380" || y[0] != o.PeerURLs[0] {
					t.Errorf("%q and %q are compared", x, y)
				}
				return same
			}
			start(t, o)
			want := 0
			if !same {
				want = 1
			}
			lines.wants(t, want, logrus.WarnLevel, o.Name, "the cluster knows this member at")
		})
	}
}

// TestASlowDiskIsTold until it has been fast for a minute.
func TestASlowDiskIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logs{}
		slow := newSlowDisk(disk.NewMem(), 1)
		o := testOptions(slow)
		lines.record(&o)
		m := start(t, o)
		time.Sleep(time.Minute)
		lines.wants(t, 0, logrus.WarnLevel, o.Name, "the disk is slow")
		slow.most.Store(int64(2 * time.Second))
		for begin := time.Now(); time.Since(begin) < 90*time.Second; {
			m.set("/k", "v")
		}
		slow.most.Store(int64(10 * time.Millisecond))
		lines.wants(t, 2, logrus.WarnLevel, o.Name, "the disk is slow")
		time.Sleep(2 * time.Minute)
		lines.wants(t, 1, logrus.InfoLevel, o.Name, "the disk is fast again, after 2m")
	})
}

// TestDebugTellsMore: the steps of elections, and requests that wait.
func TestDebugTellsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logs{}
		c := newTestCluster(t, 3, lines.record)
		leader := c.leader()
		name := leader.Name()
		lines.wants(t, 1, logrus.DebugLevel, name, fmt.Sprintf("raft: this member is leader at term %d", leader.Status().Term), "the leader is "+leader.ID().String()+" (")
		for _, m := range c.others(leader) {
			c.net.isolate(m.ID(), true)
		}
		if _, err := leader.Do(t.Context(), store.Set{Key: mustKey(t, "/k"), Value: "v"}); err == nil {
			t.Error("a write without a quorum is acknowledged")
		}
		lines.wants(t, 1, logrus.DebugLevel, name, "request ", "for its entry")
		if len(lines.lines(name, "raft: this member is pre-candidate", "the leader is unknown")) == 0 {
			t.Errorf("no line tells that it asks for votes")
		}
	})
}
