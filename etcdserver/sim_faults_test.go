package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"canopy/raft"
)

// misfortune has one thing go wrong.
func (s *sim) misfortune() {
	s.tally.faults++
	members := s.present()
	if len(members) == 0 {
		s.mend()
		return
	}
	unlucky := members[s.rng.IntN(len(members))]
	switch s.rng.IntN(14) {
	case 0, 1:
		s.crash(unlucky)
	case 2:
		s.crashSeveral(members)
	case 3:
		s.halt(unlucky)
	case 4, 5:
		s.isolate(unlucky)
	case 6:
		s.cutLinks()
	case 7:
		s.split(members)
	case 8:
		s.slowLinks()
	case 9:
		s.loseMessages()
	case 10:
		s.tell("the disk of %s is slow", unlucky.Name())
		s.disks[unlucky.Name()].most.Store(int64(2 * time.Second))
	case 11:
		s.tell("the disk of %s is full", unlucky.Name())
		d := s.disks[unlucky.Name()]
		d.SetCapacity(d.Used() + int64(s.rng.IntN(100_000)))
	case 12:
		s.handOver(unlucky)
	case 13:
		s.changeMembers(members)
	}
}

// crash cuts a member's power.
func (s *sim) crash(m *running) {
	name := m.Name()
	s.tell("cut the power of %s", name)
	s.tally.crashes++
	after := s.disks[name].cut(s.rng.Uint64())
	s.leave(m)
	s.disks[name] = newSlowDisk(after, fate(s.seed, name, s.lives))
}

func (s *sim) crashSeveral(members []*running) {
	for _, m := range members {
		if s.rng.IntN(3) > 0 {
			s.crash(m)
		}
	}
}

// halt stops a member in good order.
func (s *sim) halt(m *running) {
	s.tell("stop %s", m.Name())
	if s.rng.IntN(2) == 0 {
		s.handOver(m)
	}
	s.leave(m)
}

// leave ends a member that is to be started again.
func (s *sim) leave(m *running) {
	s.locked(func() {
		delete(s.members, m.Name())
		s.down = append(s.down, m.Name())
	})
	m.stop()
	<-m.done
}

func (s *sim) handOver(m *running) {
	s.tell("%s is to hand over", m.Name())
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	m.HandOver(ctx)
}

func (s *sim) isolate(m *running) {
	s.tell("isolate %s", m.Name())
	s.net.isolate(m.ID(), true)
}

func (s *sim) cutLinks() {
	for _, l := range pairs(s.ids()) {
		if s.rng.IntN(3) == 0 {
			s.tell("cut the link from %v to %v", ID(l.from), ID(l.to))
			s.net.cut(ID(l.from), ID(l.to), true)
		}
	}
}

// split cuts the members into two groups.
func (s *sim) split(members []*running) {
	left := map[raft.MemberID]bool{}
	for _, m := range members {
		if s.rng.IntN(2) == 0 {
			left[m.ID().Raft()] = true
		}
	}
	s.tell("split off %d of %d", len(left), len(members))
	for _, l := range pairs(s.ids()) {
		if left[l.from] != left[l.to] {
			s.net.cut(ID(l.from), ID(l.to), true)
		}
	}
}

func (s *sim) slowLinks() {
	s.spoilLinks("slow", func(l link) { s.conditions.slow[l] = between(10*time.Millisecond, time.Second, s.rng.Uint64()) })
}

func (s *sim) loseMessages() {
	s.spoilLinks("lossy", func(l link) { s.conditions.lossy[l] = uint64(s.rng.IntN(400)) })
}

func (s *sim) spoilLinks(how string, spoil func(link)) {
	s.tell("some links are %s", how)
	links := pairs(s.ids())
	s.conditions.change(func() {
		for _, l := range links {
			if s.rng.IntN(2) == 0 {
				spoil(l)
			}
		}
	})
}

// changeMembers adds a member, or removes one.
func (s *sim) changeMembers(members []*running) {
	s.tally.changes++
	asked := members[s.rng.IntN(len(members))]
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if len(members) < 6 && (len(members) < 3 || s.rng.IntN(2) == 0) {
		s.join(ctx, asked)
		return
	}
	victim := members[s.rng.IntN(len(members))]
	err := asked.RemoveMember(ctx, victim.ID())
	s.tell("%s removes %s: %v", asked.Name(), victim.Name(), err)
}

func (s *sim) join(ctx context.Context, asked *running) {
	s.names++
	name := fmt.Sprintf("m%d", s.names)
	added, err := asked.AddMember(ctx, []string{"http://" + name + ":2380"})
	s.tell("%s adds %s: %v", asked.Name(), name, err)
	if err != nil && OutcomeOf(err) == NotApplied {
		s.locked(func() { s.refused["http://"+name+":2380"] = err })
	}
	if err == nil {
		s.launch(name, Bootstrap{Joined: &Joined{Cluster: asked.ClusterID(), Self: added.ID, Members: asked.Members()}})
	}
}

// mend ends all faults, and starts who is down.
func (s *sim) mend() {
	s.tell("mend everything")
	s.net.mend()
	s.conditions.change(s.conditions.clear)
	for _, d := range s.disks {
		d.most.Store(int64(10 * time.Millisecond))
		d.SetCapacity(0)
	}
	var down []string
	s.locked(func() { down = append(down, s.down...) })
	rand.New(rand.NewPCG(s.rng.Uint64(), 0)).Shuffle(len(down), func(i, j int) { down[i], down[j] = down[j], down[i] })
	for _, name := range down {
		s.launch(name, Bootstrap{})
	}
}

// mend lets everything through.
func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// stopAll ends the cluster.
func (s *sim) stopAll() {
	for _, m := range s.present() {
		m.stop()
		if err := <-m.done; err != nil && !errors.Is(err, context.Canceled) {
			s.fail("%s could not stop: %v", m.Name(), err)
		}
	}
}
