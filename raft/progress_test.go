package raft

import (
	"testing"

	"canopy/internal/rng"
)

// The window is compared with a plain queue.
func TestWindowAgreesWithAPlainQueue(t *testing.T) {
	r := rng.New(t)
	for range 500 {
		messagesMax, bytesMax := 1+r.IntN(40), int64(1+r.IntN(2000))
		var w window
		var queue []flight
		last, match := Index(0), Index(0)
		for range 300 {
			bytes := int64(0)
			for _, f := range queue {
				bytes += f.bytes
			}
			full := len(queue) >= messagesMax || bytes >= bytesMax
			if w.full(messagesMax, bytesMax) != full || w.count != len(queue) || w.bytes != bytes {
				t.Fatalf("window of %d messages, %d bytes, want %d, %d", w.count, w.bytes, len(queue), bytes)
			}
			if !full && r.IntN(2) == 0 {
				last += 1 + Index(r.IntN(3))
				f := flight{last, int64(r.IntN(100))}
				w.add(f, messagesMax)
				queue = append(queue, f)
				continue
			}
			match = min(last, match+Index(r.IntN(4)))
			w.release(match)
			for len(queue) > 0 && queue[0].last <= match {
				queue = queue[1:]
			}
		}
	}
}

// An acknowledgement in each mode: older than what is known, as new, newer. The log in memory begins behind 10.
func TestAcknowledge(t *testing.T) {
	const base = 10
	for _, c := range []struct {
		name  string
		mode  mode
		match Index // before
		ack   Index
		want  Mode
		next  Index
	}{
		{"late answer while probing", &probing{from: 15}, 12, 11, Probing, 15},
		{"doubled answer while probing", &probing{from: 15}, 12, 12, Replicating, 13},
		{"the probe is found", &probing{from: 15}, 12, 14, Replicating, 15},
		{"late answer", &replicating{from: 20}, 12, 11, Replicating, 20},
		{"some arrived", &replicating{from: 20}, 12, 15, Replicating, 20},
		{"more arrived than was sent by us", &replicating{from: 20}, 12, 25, Replicating, 26},
		{"late answer while the snapshot is on its way", &sendingSnapshot{11}, 5, 5, SendingSnapshot, 12},
		{"entries arrived, but not enough", &sendingSnapshot{11}, 5, 9, SendingSnapshot, 12},
		{"entries arrived after all", &sendingSnapshot{11}, 5, 10, Replicating, 11},
		{"the snapshot arrived", &sendingSnapshot{11}, 5, 11, Replicating, 12},
	} {
		p := &progress{match: c.match, mode: c.mode}
		p.acknowledge(c.ack, base)
		if p.mode.name() != c.want || p.mode.next() != c.next || p.match != max(c.match, c.ack) {
			t.Errorf("%s: %s, next %d, match %d, want %s, next %d", c.name, p.mode.name(), p.mode.next(), p.match, c.want, c.next)
		}
	}
}

// A member that answers is active at every tick, also right after the quorum
// was checked; one that is silent is not after an election time-out, and one
// that was never heard never is.
func TestWhoWasHeardIsActive(t *testing.T) {
	m := leaderOf(t, 3, 1)
	active := func() map[MemberID]bool {
		all := map[MemberID]bool{}
		for _, p := range m.Status().Progress {
			all[p.ID] = p.Active
		}
		return all
	}
	if got := active(); got[2] || got[3] {
		t.Errorf("active before anything was heard: %v", got)
	}
	step(t, m, 3, HeartbeatReply{Term: m.term})
	for tick := range 3 * m.config.ElectionTicks {
		step(t, m, 2, HeartbeatReply{Term: m.term})
		m.Tick()
		if got := active(); !got[2] || got[3] != (tick < m.config.ElectionTicks) {
			t.Fatalf("active at tick %d: %v", tick+1, got)
		}
	}
}
