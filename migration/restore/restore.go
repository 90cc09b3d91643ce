// Package restore writes the data directory of a member of a new cluster, whose first state is that of a backup.
//
// All members are given the same file and the same --initial-cluster, and nothing else is agreed on: the new IDs of members and
// cluster come from the peer URLs, the token and the checksum of the file. So members of the old cluster, or of one that was
// restored from another file, cannot mix in (G56).
package restore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"canopy/config"
	"canopy/config/value"
	"canopy/etcdserver/datadir"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/firststart"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/migration/archive"
	"canopy/snap"
	"canopy/wal"
)

// Options say which member's directory is written. The flags are those of a first start.
type Options struct {
	Name           string
	DataDir        string
	InitialCluster string
	Token          string
	AdvertisePeer  string // "": the URLs that InitialCluster has for Name
}

// Restored is what was written.
type Restored struct {
	Member, Cluster replica.ID
	Members         int
	Index           uint64
}

// incarnationBytes tell the lives of one member apart.
const incarnationBytes = 16

// Restore writes a directory. There is none before, or an empty one; if it fails there is nothing in it.
func Restore(file *archive.File, o Options) (Restored, error) {
	bootstrap, err := o.bootstrap()
	if err != nil {
		return Restored{}, err
	}
	if err := o.checkEmpty(); err != nil {
		return Restored{}, err
	}
	who, err := o.identity(bootstrap, file)
	if err != nil {
		return Restored{}, err
	}
	founding, err := replica.NewFounding(file.Summary, who.Cluster, who.First)
	if err != nil {
		return Restored{}, err
	}
	incarnation := make([]byte, incarnationBytes)
	rand.Read(incarnation)
	first := datadir.First{
		Meta: snap.Meta{Term: uint64(founding.Term), Index: uint64(founding.Index)}, Term: founding.Term,
		Save: func(w io.Writer) error {
			return file.Read(func(r io.Reader) error { return founding.Save(w, r) })
		},
		Verify: founding.Verify,
	}
	identity := &pb.Identity{Member: uint64(who.Member), Cluster: uint64(who.Cluster), Incarnation: incarnation}
	if err := o.write(identity, first); err != nil {
		return Restored{}, err
	}
	return Restored{who.Member, who.Cluster, len(who.First), uint64(file.Summary.Store.Index)}, nil
}

// bootstrap checks the flags as a first start does, with the same words.
func (o Options) bootstrap() (config.Bootstrap, error) {
	args := []string{"--name=" + o.Name, "--data-dir=" + o.DataDir, "--initial-cluster=" + o.InitialCluster}
	if o.Token != "" {
		args = append(args, "--initial-cluster-token="+o.Token)
	}
	advertised := o.AdvertisePeer
	if advertised == "" {
		cluster, err := value.ParseCluster(o.InitialCluster)
		if err != nil {
			return config.Bootstrap{}, fmt.Errorf("--initial-cluster: %w", err)
		}
		if own, ok := cluster[o.Name]; ok {
			advertised = own.String()
		}
	}
	if advertised != "" {
		args = append(args, "--initial-advertise-peer-urls="+advertised)
	}
	in, err := config.Parse(args, nil, func(config.Config) config.Begun { return config.Fresh })
	if err != nil {
		return config.Bootstrap{}, err
	}
	return in.Config.Bootstrap(net.LookupHost)
}

// checkEmpty refuses a directory in which something lies: a member may run there (G51).
func (o Options) checkEmpty() error {
	names, err := disk.OS{}.List(o.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%s is not empty (%s): a restore writes a new directory; to write keys to a running cluster, use import", o.DataDir, names[0])
	}
	return nil
}

// identity derives the IDs.
func (o Options) identity(b config.Bootstrap, file *archive.File) (datadir.Identity, error) {
	cluster := map[string][]string{}
	for name, urls := range b.Cluster {
		cluster[name] = urls.Strings()
	}
	token := fmt.Sprintf("%s\nrestored from %x", b.Token, file.Checksum)
	return firststart.Identity(o.Name, firststart.Bootstrap{Cluster: cluster, Token: token})
}

// write makes the member's directory beside its place, and puts it there when it is whole.
func (o Options) write(identity *pb.Identity, first datadir.First) (err error) {
	fsys := disk.OS{}
	_, statErr := os.Stat(o.DataDir)
	if err := fsys.MkdirAll(o.DataDir); err != nil {
		return err
	}
	if _, err := fsys.Secure(o.DataDir); err != nil {
		return err
	}
	temp := filepath.Join(o.DataDir, "member.restoring")
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(err, os.RemoveAll(temp))
		if statErr != nil {
			err = errors.Join(err, os.Remove(o.DataDir))
		}
	}()
	if err := datadir.Create(fsys, temp, identity, first, wal.Options{}); err != nil {
		return err
	}
	if err := datadir.Describe(datadir.Dir{FS: fsys, Root: o.DataDir}, temp, identity); err != nil {
		return err
	}
	if err := fsys.SyncDir(temp); err != nil {
		return err
	}
	if err := fsys.Rename(temp, filepath.Join(o.DataDir, "member")); err != nil {
		return err
	}
	return fsys.SyncDir(o.DataDir)
}
