package etcdserver

import (
	"context"
	"time"

	"canopy/internal/lasting"
	"canopy/rafthttp"
)

const (
	lookEvery = time.Second

	// graceful is how long something may last that belongs to an ordinary start or restart, before it is warned about.
	graceful = 5 * time.Second
)

// lookout tells the log of what lasts. It is used by one goroutine.
type lookout struct {
	m         *Member
	noLeader  lasting.Condition
	full      lasting.Condition
	slow      lasting.Condition
	slowSync  time.Duration // the last one
	slowAt    time.Time
	unreached map[ID]*lasting.Condition
}

// watchOver looks at the member's condition until ctx ends.
func (m *Member) watchOver(ctx context.Context) error {
	grace := max(graceful, 3*m.options.Election)
	l := &lookout{m: m, noLeader: lasting.Condition{Grace: grace}, unreached: map[ID]*lasting.Condition{}}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			l.look(now, grace)
		case <-m.writer.spaceChanged:
			l.lookAtSpace(time.Now())
		case <-ctx.Done():
			return errLoopDone
		}
	}
}

func (l *lookout) look(now time.Time, grace time.Duration) {
	l.lookAtSpace(now)
	l.lookAtSyncs(now)
	moment, lasted := l.noLeader.Observe(l.m.Leader() == 0, now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		l.m.log.leaderless(lasted, l.m.reach())
	case lasting.Ends:
		l.m.log.ledAgain(lasted, l.m.LeaderTitle())
	}
	l.lookAtPeers(now, grace)
}

func (l *lookout) lookAtSpace(now time.Time) {
	moment, lasted := l.full.Observe(l.m.writer.space.full(), now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		l.m.log.full(lasted)
	case lasting.Ends:
		l.m.log.roomAgain(lasted)
	}
}

// lookAtSyncs takes a disk for slow until a minute has passed without a slow sync.
func (l *lookout) lookAtSyncs(now time.Time) {
	if slowest := time.Duration(l.m.writer.slowest.Swap(0)); slowest > l.m.options.Election {
		l.slowSync, l.slowAt = slowest, now
	}
	moment, lasted := l.slow.Observe(l.slowSync > 0 && now.Sub(l.slowAt) < lasting.Every, now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		l.m.log.slowDisk(lasted, l.slowSync)
	case lasting.Ends:
		l.m.log.fastAgain(lasted)
	}
}

func (l *lookout) lookAtPeers(now time.Time, grace time.Duration) {
	peers := l.m.peers.Status()
	present := make(map[ID]bool, len(peers))
	for _, p := range peers {
		present[ID(p.ID)] = true
		l.lookAtPeer(p, now, grace)
	}
	for id := range l.unreached {
		if !present[id] {
			delete(l.unreached, id) // it is no member any more, which has a line of its own
		}
	}
}

func (l *lookout) lookAtPeer(p rafthttp.PeerStatus, now time.Time, grace time.Duration) {
	id := ID(p.ID)
	c := l.unreached[id]
	if c == nil {
		c = &lasting.Condition{Grace: grace}
		l.unreached[id] = c
	}
	moment, lasted := c.Observe(!p.Active, now)
	switch moment {
	case lasting.Begins, lasting.Lasts:
		l.m.log.unreachable(l.m.title(id), lasted, p.LastError)
	case lasting.Ends:
		l.m.log.reachable(l.m.title(id), lasted)
	}
}
