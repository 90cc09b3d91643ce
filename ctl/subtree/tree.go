package subtree

import (
	"context"
	"fmt"
	"path"
	"regexp"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/command"
)

func (t *tool) treeCommand() *cobra.Command {
	var depth int
	var values bool
	c := &cobra.Command{Use: "tree [KEY]", Short: "Draw all keys below a directory", Args: countArgs(0, 1)}
	c.Flags().IntVar(&depth, "depth", 0, "levels to draw; 0: all; the counts are of all")
	c.Flags().BoolVar(&values, "values", false, "show the first line of each value")
	c.RunE = func(c *cobra.Command, args []string) error {
		if depth < 0 {
			return command.Usage("--depth must not be negative")
		}
		key := "/"
		if len(args) > 0 {
			key = keyOf(args[0])
		}
		return t.Run(c.Context(), func(ctx context.Context, cl *client.Client) error {
			n, err := read(ctx, cl, key)
			if err != nil {
				return err
			}
			if t.Format() == command.FormatJSON {
				return t.JSON(n)
			}
			d := drawing{tool: t, depth: depth, values: values}
			if err := t.Printf("%s%s\n", command.Plain(key), d.valueOf(n)); err != nil {
				return err
			}
			d.draw(n, "", 1)
			if d.err == nil {
				d.err = t.Printf("\n%s, %s\n", counted(d.dirs, "directory", "directories"), counted(d.files, "key", "keys"))
			}
			return d.err
		})
	}
	return c
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// drawing is a tree in the making.
type drawing struct {
	*tool
	depth       int
	values      bool
	dirs, files int
	err         error
}

func (d *drawing) valueOf(n *client.Node) string {
	if !d.values || n.Dir {
		return ""
	}
	return ": " + shortened(n.Value)
}

func (d *drawing) draw(n *client.Node, indent string, level int) {
	for at, below := range n.Nodes {
		if below.Dir {
			d.dirs++
		} else {
			d.files++
		}
		branch, further := "├── ", "│   "
		if at == len(n.Nodes)-1 {
			branch, further = "└── ", "    "
		}
		if d.err == nil && (d.depth == 0 || level <= d.depth) {
			name := path.Base(below.Key)
			if below.Dir {
				name += "/"
			}
			d.err = d.Printf("%s%s%s%s\n", indent, branch, command.Plain(name), d.valueOf(below))
		}
		d.draw(below, indent+further, level+1)
	}
}

// found is a match of grep.
type found struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (t *tool) grepCommand() *cobra.Command {
	var keys, values, ignoreCase bool
	c := &cobra.Command{Use: "grep PATTERN [KEY]", Short: "Find keys by a regular expression in name or value", Args: countArgs(1, 2),
		Long: "Find keys by a regular expression in name or value. The exit status is 1 if there is none."}
	c.Flags().BoolVar(&keys, "keys", false, "look only at the names of keys")
	c.Flags().BoolVar(&values, "values", false, "look only at values")
	c.Flags().BoolVarP(&ignoreCase, "ignore-case", "i", false, "take small and capital letters for the same")
	c.RunE = func(c *cobra.Command, args []string) error {
		expression := args[0]
		if ignoreCase {
			expression = "(?i)" + expression
		}
		pattern, err := regexp.Compile(expression)
		if err != nil {
			return command.Usage("%w", err)
		}
		key := "/"
		if len(args) > 1 {
			key = keyOf(args[1])
		}
		return t.Run(c.Context(), func(ctx context.Context, cl *client.Client) error {
			n, err := read(ctx, cl, key)
			if err != nil {
				return err
			}
			matches := []found{}
			err = walk(n, func(_ string, n *client.Node) error {
				inKey, inValue := pattern.MatchString(n.Key) && !values, !n.Dir && pattern.MatchString(n.Value) && !keys
				if n.Key != "" && (inKey || inValue) {
					matches = append(matches, found{n.Key, n.Value})
				}
				return nil
			})
			if err != nil {
				return err
			}
			return t.printFound(matches)
		})
	}
	return c
}

func (t *tool) printFound(matches []found) error {
	if t.Format() == command.FormatJSON {
		if err := t.JSON(matches); err != nil {
			return err
		}
	} else {
		for _, m := range matches {
			if err := t.Printf("%s: %s\n", command.Plain(m.Key), shortened(m.Value)); err != nil {
				return err
			}
		}
	}
	if len(matches) == 0 {
		return command.Exit(1)
	}
	return nil
}
