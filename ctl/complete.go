package ctl

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
)

// completeTimeout is how long a shell waits for keys: a user who types waits no longer.
const completeTimeout = 500 * time.Millisecond

// completeKeys gives the keys that begin like what was typed, one level at a time.
func (s *session) completeKeys(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completeTimeout)
	defer cancel()
	cl, err := s.dial(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer cl.Close()
	dir := "/"
	if at := strings.LastIndex(typed, "/"); at > 0 {
		dir = path.Clean("/" + typed[:at])
	}
	found, err := cl.Get(ctx, dir, client.GetOptions{Sorted: true})
	if err != nil || found.Node == nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var keys []string
	for _, n := range found.Node.Nodes {
		key := n.Key
		if n.Dir {
			key += "/"
		}
		if !strings.HasPrefix(typed, "/") {
			key = strings.TrimPrefix(key, "/")
		}
		if strings.HasPrefix(key, typed) {
			keys = append(keys, key)
		}
	}
	return keys, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
