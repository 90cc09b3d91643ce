package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestAMemberThatRemovesItselfIsAnswered: who asks a member to remove it hears that it
// is done before the member leaves, whether it leads or not, and of how many members it is one.
func TestAMemberThatRemovesItselfIsAnswered(t *testing.T) {
	for _, size := range []int{2, 3, 4} {
		for _, leads := range []bool{true, false} {
			t.Run(fmt.Sprintf("of %d, leader %v", size, leads), func(t *testing.T) {
				t.Parallel()
				c := newTestCluster(t, size, nil)
				leaver := c.leader()
				if !leads {
					leaver = c.others(leaver)[0]
				}
				if err := leaver.RemoveMember(context.Background(), leaver.ID()); err != nil {
					t.Errorf("the member removes itself: %v", err)
				}
				var gone *RemovedError
				if err := <-leaver.done; !errors.As(err, &gone) {
					t.Errorf("it ended with %v", err)
				}
				delete(c.members, leaver.Name())
				c.leader().set("/after", "1")
			})
		}
	}
}
