package follower

import (
	"testing"

	"canopy/internal/rng"
	"canopy/raft/raftlog"
)

// The window is compared with a plain queue.
func TestWindowAgreesWithAPlainQueue(t *testing.T) {
	r := rng.New(t)
	for range 500 {
		messagesMax, bytesMax := 1+r.IntN(40), int64(1+r.IntN(2000))
		var w Window
		var queue []Flight
		last, match := raftlog.Index(0), raftlog.Index(0)
		for range 300 {
			bytes := int64(0)
			for _, f := range queue {
				bytes += f.Bytes
			}
			full := len(queue) >= messagesMax || bytes >= bytesMax
			if w.Full(messagesMax, bytesMax) != full || w.Count != len(queue) || w.Bytes != bytes {
				t.Fatalf("window of %d messages, %d bytes, want %d, %d", w.Count, w.Bytes, len(queue), bytes)
			}
			if !full && r.IntN(2) == 0 {
				last += 1 + raftlog.Index(r.IntN(3))
				f := Flight{last, int64(r.IntN(100))}
				w.Add(f, messagesMax)
				queue = append(queue, f)
				continue
			}
			match = min(last, match+raftlog.Index(r.IntN(4)))
			w.release(match)
			for len(queue) > 0 && queue[0].Last <= match {
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
		mode  Mode
		match raftlog.Index // before
		ack   raftlog.Index
		want  Name
		next  raftlog.Index
	}{
		{"late answer while probing", &Probing{From: 15}, 12, 11, NameProbing, 15},
		{"doubled answer while probing", &Probing{From: 15}, 12, 12, NameReplicating, 13},
		{"the probe is found", &Probing{From: 15}, 12, 14, NameReplicating, 15},
		{"late answer", &Replicating{From: 20}, 12, 11, NameReplicating, 20},
		{"some arrived", &Replicating{From: 20}, 12, 15, NameReplicating, 20},
		{"more arrived than was sent by us", &Replicating{From: 20}, 12, 25, NameReplicating, 26},
		{"late answer while the snapshot is on its way", &SendingSnapshot{11}, 5, 5, NameSendingSnapshot, 12},
		{"entries arrived, but not enough", &SendingSnapshot{11}, 5, 9, NameSendingSnapshot, 12},
		{"entries arrived after all", &SendingSnapshot{11}, 5, 10, NameReplicating, 11},
		{"the snapshot arrived", &SendingSnapshot{11}, 5, 11, NameReplicating, 12},
	} {
		p := &Progress{Match: c.match, Mode: c.mode}
		p.Acknowledge(c.ack, base)
		if p.Mode.Name() != c.want || p.Mode.Next() != c.next || p.Match != max(c.match, c.ack) {
			t.Errorf("%s: %s, next %d, match %d, want %s, next %d", c.name, p.Mode.Name(), p.Mode.Next(), p.Match, c.want, c.next)
		}
	}
}
