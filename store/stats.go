package store

// Stats are the counts of /v2/stats/store (S12), each by outcome (S13a). Changes are counted when they are applied, so their
// counts are equal on all members. Each member counts its own gets and watchers.
type Stats struct {
	GetsSuccess, GetsFail                         uint64
	SetsSuccess, SetsFail                         uint64
	DeleteSuccess, DeleteFail                     uint64
	UpdateSuccess, UpdateFail                     uint64
	CreateSuccess, CreateFail                     uint64
	CompareAndSwapSuccess, CompareAndSwapFail     uint64
	CompareAndDeleteSuccess, CompareAndDeleteFail uint64
	ExpireCount                                   uint64
	Watchers                                      int // open now
}

// outcome counts how often one kind of command succeeded and failed.
type outcome struct{ ok, failed uint64 }

// counters are the counts of changes. They are part of the replicated state.
type counters struct {
	sets, creates, updates, swaps, deletes, compareDeletes outcome

	expired uint64
}

// count adds the outcome of one command.
func (c *counters) count(cmd Command, ok bool) {
	var o *outcome
	switch cmd.(type) {
	case Set:
		o = &c.sets
	case Create, CreateInOrder:
		o = &c.creates
	case Update:
		o = &c.updates
	case CompareAndSwap:
		o = &c.swaps
	case Delete:
		o = &c.deletes
	case CompareAndDelete:
		o = &c.compareDeletes
	}
	if ok {
		o.ok++
	} else {
		o.failed++
	}
}

// CountGet counts one read that has found a node, or one that has failed. A View cannot count, since it never changes.
func (s *Store) CountGet(ok bool) {
	if ok {
		s.getsOK.Add(1)
	} else {
		s.getsFailed.Add(1)
	}
}

// Stats returns the counts of the last Publish.
func (s *Store) Stats() Stats {
	c := s.view.Load().counters
	return Stats{
		GetsSuccess: s.getsOK.Load(), GetsFail: s.getsFailed.Load(),
		SetsSuccess: c.sets.ok, SetsFail: c.sets.failed,
		DeleteSuccess: c.deletes.ok, DeleteFail: c.deletes.failed,
		UpdateSuccess: c.updates.ok, UpdateFail: c.updates.failed,
		CreateSuccess: c.creates.ok, CreateFail: c.creates.failed,
		CompareAndSwapSuccess: c.swaps.ok, CompareAndSwapFail: c.swaps.failed,
		CompareAndDeleteSuccess: c.compareDeletes.ok, CompareAndDeleteFail: c.compareDeletes.failed,
		ExpireCount: c.expired,
		Watchers:    s.Watchers(),
	}
}
