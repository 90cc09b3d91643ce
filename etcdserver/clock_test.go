package etcdserver

import (
	"context"
	"testing"
	"time"

	"canopy/internal/disk"
	"canopy/store"
)

// A member that starts again with a clock that was set back does not stamp
// times that are past in the log: they would stand still for as long (R30).
func TestAClockThatWasSetBackIsNotBelieved(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	m := start(t, o)
	set := store.Set{Key: mustKey(t, "/k"), Value: "1", TTL: store.TTL{Set: true, Seconds: 1}}
	applied, err := m.Do(context.Background(), set)
	if err != nil {
		t.Fatal(err)
	}
	m.halt()
	o.Now = time.Now
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if now := again.clock.Now(); now < m.store.View().Time() {
		t.Errorf("the member would stamp %v, and the log is at %v with entry %d", now, m.store.View().Time(), applied.RaftIndex)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// What a client is told of a TTL does not depend on the clock of the member
// that it asks.
func TestEveryMemberTellsTheLogsTime(t *testing.T) {
	var off time.Duration
	c := newTestCluster(t, 3, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(off) } })
	m := c.others(c.leader())[0]
	off = time.Hour
	c.forget(m)
	m.halt()
	c.restart(m.Name())
	leader := c.leader()
	leader.set("/k", "1")
	c.agree()
	for _, each := range c.running() {
		if apart := time.Duration(each.Now() - leader.Now()).Abs(); apart > time.Second {
			t.Errorf("%s is %v from the leader's time", each.Name(), apart)
		}
	}
}
