package etcdserver

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/pending"
	"canopy/raft"
)

// changes takes changes of the membership. The leader judges them (raftloop/judge.go). Any
// goroutine may call its methods.
type changes struct {
	status   *status
	requests *requests
	rng      func() *rand.Rand
}

// peerURLsMax bounds the peer URLs of one member, in bytes: a Change has to fit
// the context of a configuration change.
const peerURLsMax = 32 << 10

// AddMember adds a member, as a learner, and returns it once that is applied
// here (M15). Errors: ErrPeerURLExists, *ReconfigurationError, and those of a
// request.
func (c *changes) AddMember(ctx context.Context, peerURLs []string) (MemberInfo, error) {
	info := MemberInfo{ID: c.newMemberID(peerURLs), PeerURLs: slices.Sorted(slices.Values(peerURLs))}
	return info, c.change(ctx, raft.AddLearner, info)
}

// newMemberID makes an id that was never used (M17).
func (c *changes) newMemberID(peerURLs []string) ID {
	members := c.status.apply.Present().Members
	text := strings.Join(slices.Sorted(slices.Values(peerURLs)), "") + strconv.FormatInt(time.Now().UnixNano(), 10)
	rng := c.rng()
	for {
		sum := sha1.Sum(binary.BigEndian.AppendUint64([]byte(text), rng.Uint64()))
		id := ID(binary.BigEndian.Uint64(sum[:8]))
		_, known := members.Members[id]
		_, removed := members.Removed[id]
		if id != 0 && !known && !removed {
			return id
		}
	}
}

// RemoveMember removes a member. Its ID is never used again (M25). Errors: ErrNoSuchMember,
// ErrMemberRemoved, ErrLastMember, *ReconfigurationError, and those of a request.
func (c *changes) RemoveMember(ctx context.Context, id ID) error {
	return c.change(ctx, raft.Remove, MemberInfo{ID: id})
}

// UpdateMember replaces a member's peer URLs (M22). Errors: ErrNoSuchMember,
// ErrMemberRemoved, ErrPeerURLExists, and those of a request.
func (c *changes) UpdateMember(ctx context.Context, id ID, peerURLs []string) error {
	return c.change(ctx, raft.UpdateContext, MemberInfo{ID: id, PeerURLs: slices.Sorted(slices.Values(peerURLs))})
}

// PromoteMember makes a learner that has caught up a voter. Errors: ErrNoSuchMember,
// ErrMemberRemoved, *ReconfigurationError, and those of a request.
func (c *changes) PromoteMember(ctx context.Context, id ID) error {
	return c.change(ctx, raft.Promote, MemberInfo{ID: id})
}

func (c *changes) change(ctx context.Context, op raft.ConfChangeOp, info MemberInfo) error {
	if len(strings.Join(info.PeerURLs, "")) > peerURLsMax {
		return &ReconfigurationError{Reason: fmt.Sprintf("the peer URLs of a member may have %d bytes", peerURLsMax)}
	}
	if _, gone := c.status.apply.Present().Members.Removed[info.ID]; gone {
		return ErrMemberRemoved
	}
	data, err := pending.EncodeChange(&pb.Change{
		Op: uint32(op), Member: info.Proto(), Session: c.requests.pending.Session(), Finished: c.requests.pending.Finished(),
	})
	if err != nil {
		return err
	}
	_, err = c.requests.await(ctx, pending.Proposal{Data: data, Change: true})
	return err
}
