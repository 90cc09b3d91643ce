package etcdserver

import (
	"bytes"
	"context"
	"encoding/json"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"canopy/store"
	"canopy/store/watch"
)

// simRecovery is how long a cluster in which nothing is wrong any more may take
// until all its members agree.
const simRecovery = 60 * time.Second

// checkEnd lets everything recover, and compares the members with one another
// and with what clients were told.
func (s *sim) checkEnd() {
	if s.hasFailed() || !s.recovered() {
		return
	}
	s.checkMembers()
	s.checkUsers()
	s.checkEvents()
}

// recovered waits until every member has applied the same, and all leases are over.
func (s *sim) recovered() bool {
	end := time.Now().Add(simRecovery)
	for time.Now().Before(end) {
		time.Sleep(100 * time.Millisecond)
		if s.isRecovered() {
			return true
		}
	}
	for _, m := range s.present() {
		index, term := m.Position()
		s.tell("%s: %+v, applied %d of term %d, members %v\n%s", m.Name(), m.Status(), index, term, m.Members(), dump(s.t, m.store.View()))
	}
	s.fail("the members did not recover in %v", simRecovery)
	return false
}

func (s *sim) isRecovered() bool {
	s.cancelPending()
	members := s.present()
	if len(members) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first, err := members[0].Read(ctx, true)
	if err != nil || hasLeases(first) {
		return false
	}
	synctest.Wait() // from here on nobody moves until the trees are compared
	last, _ := members[0].Position()
	for _, m := range members {
		if index, _ := m.Position(); index != last || m.Leader() == 0 {
			return false
		}
	}
	return true
}

// hasLeases tells whether keys with a deadline are left.
func hasLeases(v *store.View) bool {
	key, err := store.ParseKey("/lease")
	if err != nil {
		return true
	}
	l, err := v.Get(key, store.ReadOptions{})
	if err != nil {
		return false
	}
	var answer struct{ Node struct{ Nodes []any } }
	return json.Unmarshal(l.AppendJSON(nil), &answer) != nil || len(answer.Node.Nodes) > 0
}

// cancelPending removes members that were added without anybody learning of it.
func (s *sim) cancelPending() {
	ours := map[ID]bool{}
	members := s.present()
	for _, m := range members {
		ours[m.ID()] = true
	}
	if len(members) == 0 {
		return
	}
	for _, info := range members[0].Members() {
		if err := s.refused[info.PeerURLs[0]]; err != nil {
			s.fail("%v was surely not added, by %q, and is there", info.PeerURLs, err)
		}
		if !ours[info.ID] && info.Name == "" {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			err := members[0].RemoveMember(ctx, info.ID)
			cancel()
			s.tell("cancel the pending member %v: %v", info.ID, err)
		}
	}
}

// checkMembers compares the members' states, to the byte.
func (s *sim) checkMembers() {
	var first []byte
	for _, m := range s.present() {
		if d := m.Differences(); len(d) > 0 {
			s.fail("%s sees other states: %v", m.Name(), d)
		}
		var b bytes.Buffer
		if err := m.store.View().Save(&b); err != nil {
			s.fail("save %s: %v", m.Name(), err)
		}
		if first == nil {
			first = b.Bytes()
		}
		if !bytes.Equal(first, b.Bytes()) {
			s.fail("the state of %s is not that of the first member", m.Name())
		}
		status := m.Status()
		s.tally.leaders = max(s.tally.leaders, int(status.Term))
	}
}

// checkEvents compares what watchers saw, and what writers were promised, with
// the history of the cluster. It is the same on all members (checkMembers).
func (s *sim) checkEvents() {
	members := s.present()
	all := s.eventsOf(members[0])
	s.tally.events = len(all)
	for id, stream := range s.streams {
		for i, e := range stream {
			if i >= len(all) || e.Index() != all[i].Index() || !bytes.Equal(e.JSON(), all[i].JSON()) {
				s.fail("watcher %d: event %d of the history was not what it got as number %d: %s", id, i, i, e.JSON())
				break
			}
		}
	}
	times := map[string]int{}
	for _, e := range all {
		var event struct{ Node struct{ Value string } }
		if err := json.Unmarshal(e.JSON(), &event); err != nil {
			s.fail("event %d: %v", e.Index(), err)
		}
		if v := event.Node.Value; v != "" && (e.Action() == watch.ActionSet || e.Action() == watch.ActionCreate || e.Action() == watch.ActionCompareAndSwap) {
			if times[v]++; times[v] > 1 {
				s.fail("%q was written twice, the last time at %d", v, e.Index())
			}
		}
	}
	for value, index := range s.promised {
		if times[value] == 0 {
			s.fail("%q was acknowledged at %d, and is lost", value, index)
		}
	}
	for value, err := range s.refused {
		if times[value] > 0 {
			s.fail("%q was surely not applied, by %q, and is there", value, err)
		}
	}
}

// eventsOf gives all events there ever were.
func (s *sim) eventsOf(m *running) []*watch.Event {
	w, err := m.Watch(mustKey(s.t, "/"), watch.Options{Recursive: true, Stream: true, Since: 1})
	if err != nil {
		s.fail("watch %s: %v", m.Name(), err)
		return nil
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	var all []*watch.Event
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return all
		}
		all = append(all, e)
	}
}

// checkHistory asks porcupine whether the registers were linearizable.
func (s *sim) checkHistory() {
	s.tally.operations += len(s.done)
	if s.failed {
		return
	}
	if result := porcupine.CheckOperationsTimeout(registers.ToModel(), s.done, time.Minute); result != porcupine.Ok {
		s.fail("what clients saw of the registers is %s", result)
	}
}
