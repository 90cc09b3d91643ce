package etcdserver

import (
	"context"
	"time"

	"canopy/etcdserver/memberlog"
	"canopy/internal/lasting"
	"canopy/rafthttp"
)

const (
	monitorEvery = time.Second

	// graceMin is how long a condition may last that belongs to an ordinary start or restart, before it is logged.
	graceMin = 5 * time.Second
)

// monitor logs conditions that last: no leader, a full or slow disk, peers that are not
// reached. Only the goroutine of run calls its methods.
type monitor struct {
	status    *status
	election  time.Duration
	log       memberlog.Log
	grace     time.Duration
	noLeader  lasting.Condition
	full      lasting.Condition
	slow      lasting.Condition
	slowSync  time.Duration // the last one
	slowAt    time.Time
	unreached map[ID]*lasting.Condition
}

func newMonitor(s *status, election time.Duration, log memberlog.Log) *monitor {
	grace := max(graceMin, 3*election)
	return &monitor{status: s, election: election, log: log, grace: grace, noLeader: lasting.Condition{Grace: grace}, unreached: map[ID]*lasting.Condition{}}
}

func (m *monitor) run(ctx context.Context) error {
	tick := time.NewTicker(monitorEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			m.check(now)
		case <-m.status.writer.FullChanged():
			m.checkSpace(time.Now())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *monitor) check(now time.Time) {
	m.checkSpace(now)
	m.checkSyncs(now)
	moment, lasted := m.noLeader.Observe(m.status.Leader() == 0, now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		m.log.Leaderless(lasted, m.status.reach())
	case lasting.Ends:
		m.log.LedAgain(lasted, m.status.LeaderTitle())
	}
	m.checkPeers(now)
}

func (m *monitor) checkSpace(now time.Time) {
	moment, lasted := m.full.Observe(m.status.writer.Space().Full(), now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		m.log.Full(lasted)
	case lasting.Ends:
		m.log.RoomAgain(lasted)
	}
}

// checkSyncs logs a slow disk, until a minute has passed without a slow sync.
func (m *monitor) checkSyncs(now time.Time) {
	if slowest := m.status.writer.SlowestSync(); slowest > m.election {
		m.slowSync, m.slowAt = slowest, now
	}
	moment, lasted := m.slow.Observe(m.slowSync > 0 && now.Sub(m.slowAt) < lasting.Every, now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		m.log.SlowDisk(lasted, m.slowSync)
	case lasting.Ends:
		m.log.FastAgain(lasted)
	}
}

func (m *monitor) checkPeers(now time.Time) {
	peers := m.status.transport.Status()
	present := make(map[ID]bool, len(peers))
	for _, p := range peers {
		present[ID(p.ID)] = true
		m.checkPeer(p, now)
	}
	for id := range m.unreached {
		if !present[id] {
			delete(m.unreached, id) // it was removed, which is logged elsewhere
		}
	}
}

func (m *monitor) checkPeer(p rafthttp.PeerStatus, now time.Time) {
	id := ID(p.ID)
	c := m.unreached[id]
	if c == nil {
		c = &lasting.Condition{Grace: m.grace}
		m.unreached[id] = c
	}
	moment, lasted := c.Observe(!p.Active, now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		m.log.Unreachable(m.status.title(id), lasted, p.LastError)
	case lasting.Ends:
		m.log.Reachable(m.status.title(id), lasted)
	}
}
