package subtree

import (
	"context"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/command"
)

// difference is a key that two subtrees do not share, or share with different values.
type difference struct {
	Key   string  `json:"key"` // below both subtrees; "" if they are keys themselves
	Left  *string `json:"left"`
	Right *string `json:"right"`
}

func (t *tool) diffCommand() *cobra.Command {
	var with string
	c := &cobra.Command{Use: "diff LEFT [RIGHT]", Short: "Compare two keys or subtrees, of one or two clusters", Args: countArgs(1, 2),
		Long: "Compare two keys or subtrees, of one cluster or, with --with, of two.\n\n" +
			"  - KEY: VALUE     only LEFT has it\n  + KEY: VALUE     only RIGHT has it\n  both, one after the other: the values differ\n\n" +
			"The exit status is 1 if they differ. Hidden keys and TTLs are not compared."}
	c.Flags().StringVar(&with, "with", "", "client URLs of the cluster of RIGHT, with commas; then RIGHT is LEFT by default")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) < 2 && with == "" {
			return command.Usage("RIGHT or --with is required")
		}
		left, right := keyOf(args[0]), keyOf(args[len(args)-1])
		return t.Run(c.Context(), func(ctx context.Context, cl *client.Client) error {
			a, err := read(ctx, cl, left)
			if err != nil {
				return err
			}
			if with != "" {
				if cl, err = t.Other(ctx, with); err != nil {
					return err
				}
				defer cl.Close()
			}
			b, err := read(ctx, cl, right)
			if err != nil {
				return err
			}
			return t.printDifferences(compare(files(a), files(b)))
		})
	}
	return c
}

func compare(a, b map[string]*client.Node) []difference {
	all := []difference{}
	for _, place := range placesOf(a, b) {
		d := difference{Key: place}
		if n := a[place]; n != nil {
			d.Left = &n.Value
		}
		if n := b[place]; n != nil {
			d.Right = &n.Value
		}
		if d.Left == nil || d.Right == nil || *d.Left != *d.Right {
			all = append(all, d)
		}
	}
	return all
}

func (t *tool) printDifferences(all []difference) error {
	if t.Format() == command.FormatJSON {
		if err := t.JSON(all); err != nil {
			return err
		}
	} else {
		for _, d := range all {
			for _, side := range []struct {
				mark  string
				value *string
			}{{"-", d.Left}, {"+", d.Right}} {
				if side.value == nil {
					continue
				}
				if err := t.Printf("%s %s: %s\n", side.mark, command.Plain(d.Key), shortened(*side.value)); err != nil {
					return err
				}
			}
		}
	}
	if len(all) > 0 {
		return command.Exit(1)
	}
	return nil
}
