package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// cluster is the processes of one command line, each a member, of which one is
// measured.
type cluster struct {
	members []*server
	at      *server // the one that is measured
}

// newCluster fills in a NAME=COMMAND for each of so many members.
func newCluster(line string, size int, secure bool) (*cluster, error) {
	c := &cluster{}
	urls, err := freeURLs(2 * size)
	if err != nil {
		return nil, err
	}
	var list []string
	for n := range size {
		s, err := newServer(line, urls[2*n], urls[2*n+1], secure)
		if err != nil {
			return nil, errors.Join(err, c.remove())
		}
		c.members = append(c.members, s)
		list = append(list, fmt.Sprintf("m%d=%s", n+1, s.peer))
	}
	_, command, _ := strings.Cut(line, "=")
	for n, s := range c.members {
		s.fill(strings.NewReplacer("{dir}", s.dir, "{client}", s.endpoint, "{peer}", s.peer,
			"{cert}", s.files.Cert.Name, "{key}", s.files.Key.Name, "{name}", fmt.Sprintf("m%d", n+1), "{cluster}", strings.Join(list, ",")), command)
	}
	c.at = c.members[0]
	return c, nil
}

// start runs the members, waits until each answers a GET of path, and chooses
// the one to be measured: the leader, or one that is not.
func (c *cluster) start(ctx context.Context, path string, follower bool) error {
	started := make(chan error, len(c.members))
	for _, s := range c.members {
		go func() { started <- s.start(ctx, path) }()
	}
	var err error
	for range c.members {
		err = errors.Join(err, <-started)
	}
	if err != nil || len(c.members) == 1 {
		return err
	}
	leader, err := c.leader(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(c.members, func(s *server) bool { return (s == leader) != follower })
	c.at = c.members[at]
	return nil
}

// leader waits for one.
func (c *cluster) leader(ctx context.Context) (*server, error) {
	for {
		for _, s := range c.members {
			var self struct{ State string }
			response, err := s.web.Get(s.endpoint + "/v2/stats/self")
			if err != nil {
				return nil, err
			}
			err = json.NewDecoder(response.Body).Decode(&self)
			if err := errors.Join(err, response.Body.Close()); err != nil {
				return nil, err
			}
			if self.State == "StateLeader" {
				return s, nil
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *cluster) remove() error {
	var err error
	for _, s := range c.members {
		err = errors.Join(err, s.remove())
	}
	return err
}
