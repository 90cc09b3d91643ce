package etcdserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
)

// leaveAfter is how long a member that was removed goes on, so that the entry
// that removed it reaches the others, and a leader can hand over (M43).
const leaveAfter = time.Second

// RemovedError ends a member that was removed from its cluster. It is for ever:
// the data directory can only be deleted.
type RemovedError struct {
	Member ID
	Dir    string
}

// Error says what happened and what to do.
func (e *RemovedError) Error() string {
	return fmt.Sprintf("the member %v has been permanently removed from the cluster; the data-dir used by this member must be removed: %s", e.Member, e.Dir)
}

// leaving is the end of a member that was removed.
type leaving struct {
	once sync.Once
	by   chan replica.Removal // has room for the one
}

func newLeaving() leaving { return leaving{by: make(chan replica.Removal, 1)} }

// begin makes the member leave; the first call counts.
func (l *leaving) begin(by replica.Removal) { l.once.Do(func() { l.by <- by }) }

// endAfterRemoval waits until the member is removed, and then ends it. What it leaves
// behind says so at the next start (M45).
func (m *Member) endAfterRemoval(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return errLoopDone
	case by := <-m.leave.by:
		m.log.removed(by.Index)
	}
	note := fmt.Sprintf("member %v was removed from cluster %v\n", m.self, m.cluster)
	if err := disk.WriteFile(m.dir.FS, m.dir.Removed(), []byte(note)); err != nil {
		m.log.unmarked(err)
	}
	m.answerRemoval()
	select {
	case <-time.After(leaveAfter):
	case <-ctx.Done():
	}
	return &RemovedError{Member: m.self, Dir: m.dir.Root}
}

// answerRemoval tells those who asked this member to remove itself that it is done. The entry that did it may never
// come here, since the others need not send it.
func (m *Member) answerRemoval() {
	for _, p := range m.waiters.pending(nil) {
		if p.change && removes(p.data, m.self) {
			m.waiters.finish(p.id(), outcome{})
		}
	}
}

// removes tells whether an encoded Change removes a member.
func removes(change []byte, id ID) bool {
	var c pb.Change
	err := c.UnmarshalVT(change)
	return err == nil && raft.ConfChangeOp(c.Op) == raft.Remove && c.Member != nil && ID(c.Member.Id) == id
}
