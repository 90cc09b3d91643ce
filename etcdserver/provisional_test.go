package etcdserver

import (
	"testing"
	"testing/synctest"
)

// A member that was away while the present leader was added cannot know it from
// its log, and nobody else sends it the log: the others name it.
func TestALeaderThatIsUnknownIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		away := c.others(c.leader())[0]
		away.halt()
		c.forget(away)
		added := c.join("m4")
		eventually(t, "the new member to be a voter", func() bool {
			return added.apply.Present().Config.IsVoter(added.ID().Raft())
		})
		c.lead(added)
		added.set("/k", "1")
		c.restart(away.Name())
		c.member(away.Name()).mustHold("/k", "1")
		c.agree()
	})
}

// The same before a new member has anything of the log: it asks those it was
// told of when it was added.
func TestANewMemberFollowsALeaderThatCameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		asked := c.leader()
		early, err := asked.AddMember(t.Context(), []string{"http://m4:2380"})
		if err != nil {
			t.Fatal(err)
		}
		told := &Joined{Cluster: asked.ClusterID(), Self: early.ID, Members: asked.Members()}
		added := c.join("m5")
		eventually(t, "m5 to be a voter", func() bool {
			return added.apply.Present().Config.IsVoter(added.ID().Raft())
		})
		c.lead(added)
		c.awaitReady(c.launch("m4", Bootstrap{Joined: told}))
		c.agree()
	})
}
