package etcdserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"canopy/etcdserver/datadir"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
)

// endAfter is how long a member goes on that was removed, so that the entry that removed it
// reaches the others, and a leader can hand over (M43).
const endAfter = time.Second

// RemovedError ends a member that was removed from its cluster. It cannot run
// again: the data directory has to be deleted.
type RemovedError struct {
	Member ID
	Dir    string
}

// Error says what happened and what to do.
func (e *RemovedError) Error() string {
	return fmt.Sprintf("the member %v has been permanently removed from the cluster; the data-dir used by this member must be removed: %s", e.Member, e.Dir)
}

// removal ends this member after it was removed from its cluster. Any goroutine may call
// begin; only the goroutine of run calls the other methods.
type removal struct {
	self, cluster ID
	dir           datadir.Dir
	pending       *pending.List
	log           memberlog.Log

	once sync.Once
	by   chan replica.Removal // has room for the one
}

// begin tells the member that it was removed; the first call counts.
func (r *removal) begin(by replica.Removal) { r.once.Do(func() { r.by <- by }) }

// run waits until the member is removed, and then ends it. A file that it leaves in the data
// directory says so at the next start (M45).
func (r *removal) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case by := <-r.by:
		r.log.Removed(by.Index)
	}
	text := fmt.Sprintf("member %v was removed from cluster %v\n", r.self, r.cluster)
	if err := disk.WriteFile(r.dir.FS, r.dir.Removed(), []byte(text)); err != nil {
		r.log.EndNotRecorded(err)
	}
	r.answer()
	select {
	case <-time.After(endAfter):
	case <-ctx.Done():
	}
	return &RemovedError{Member: r.self, Dir: r.dir.Root}
}

// answer tells those who asked this member to remove itself that it is done. The entry that did it may never
// come here, since the others need not send it.
func (r *removal) answer() {
	for _, p := range r.pending.Requests(nil) {
		if p.Change && removes(p.Data, r.self) {
			r.pending.Finish(p.ID(), pending.Result{})
		}
	}
}

// removes tells whether an encoded Change removes a member.
func removes(change []byte, id ID) bool {
	var c pb.Change
	err := c.UnmarshalVT(change)
	return err == nil && raft.ConfChangeOp(c.Op) == raft.Remove && c.Member != nil && ID(c.Member.Id) == id
}
