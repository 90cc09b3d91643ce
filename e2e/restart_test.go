package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestTheFirstAnswerAfterARestartIsNoOlder: what a member answers without asking others is, from the first answer on, no
// older than what it knew to be committed before it was killed (B11, K131). It needs no other member for that (B13).
func TestTheFirstAnswerAfterARestartIsNoOlder(t *testing.T) {
	parallel(t)
	t.Run("alone", func(t *testing.T) {
		s := newServer(t).start()
		last := writeMany(s)
		for range 3 {
			s.kill()
			s.launch()
			if got := firstIndex(s); got < last {
				t.Errorf("the first answer is of index %d; %d was acknowledged", got, last)
			}
		}
	})
	t.Run("cut off", func(t *testing.T) {
		c := newCluster(t, 3)
		s := c.leader()
		writeMany(s)
		last := index(t, s.must(http.StatusCreated, http.MethodPut, "/v2/keys/known", "value=1"))
		s.must(http.StatusCreated, http.MethodPut, "/v2/keys/later", "value=1") // which is written with the news that known is committed
		for _, member := range c.members {
			member.kill()
		}
		s.launch()
		if got := firstIndex(s); got < last {
			t.Errorf("the first answer is of index %d; %d was known to be committed", got, last)
		}
	})
}

// writeMany writes so much that it cannot be applied in no time, and gives the highest index.
func writeMany(s *server) (last uint64) {
	const writers, writes = 32, 250
	s.t.Helper()
	var all sync.WaitGroup
	highest := make([]uint64, writers)
	for w := range writers {
		all.Go(func() {
			for i := range writes {
				a, err := s.do(http.MethodPut, fmt.Sprintf("/v2/keys/many/%d/%d", w, i), "value=x")
				if err != nil || a.status != http.StatusCreated {
					s.t.Errorf("a write: %v %+v", err, a)
					return
				}
				highest[w] = index(s.t, a)
			}
		})
	}
	all.Wait()
	for _, i := range highest {
		last = max(last, i)
	}
	return last
}

// firstIndex asks until there is an answer, and gives the store's index by it.
func firstIndex(s *server) uint64 {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for limit := time.Now().Add(hang); time.Now().Before(limit); {
		a, err := send(client, http.MethodGet, s.client+"/v2/keys/", "")
		if err == nil && a.status != http.StatusServiceUnavailable {
			return index(s.t, a)
		}
	}
	s.t.Fatalf("no answer within %v", hang)
	return 0
}

func index(t *testing.T, a answer) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(a.header.Get("X-Etcd-Index"), 10, 64)
	if err != nil {
		t.Errorf("X-Etcd-Index: %v", err)
	}
	return n
}
