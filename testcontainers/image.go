package testcontainers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"

	"github.com/glassbox-dev/glassbox/harness"
)

// The image is built from nothing, so that no registry is needed: it has the
// node's binary and the helper that breaks its network.
const (
	// With a host no registry's mirror is put in front of the name, and if the
	// image is gone nobody is asked for one of that name.
	imageName  = "glassbox.localhost/harness"
	nodeFile   = "/glassbox"
	helperFile = "/netfault"

	// No "# syntax=" line: that would pull a frontend.
	dockerfile = "FROM scratch\nCOPY glassbox netfault /\nENTRYPOINT [\"" + nodeFile + "\"]\n"
)

// helperProgram is compiled by its import path, as the node's is.
const helperProgram = "github.com/glassbox-dev/glassbox/testcontainers/netfault"

// helper is the content of the helper's binary.
func (o Options) helper() ([]byte, error) {
	if o.Helper != "" {
		return os.ReadFile(o.Helper)
	}
	return compiledHelper()
}

// compiledHelper compiles the helper, once for this process.
var compiledHelper = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "glassbox-netfault-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary, err := harness.BuildProgram(context.Background(), dir, helperProgram)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(binary)
})

// image makes sure that the engine has the image of a node's binary and returns
// its name. One with the same content is used again; others of ours, of before,
// are removed.
func (e *engine) image(ctx context.Context, o Options) (string, error) {
	tag, err := imageTag(o)
	if err != nil {
		return "", err
	}
	name := imageName + ":" + tag
	if _, err := e.api.ImageInspect(ctx, name); err == nil {
		return name, nil
	} else if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for the image %s: %w", name, err)
	}
	content, err := imageContent(o)
	if err != nil {
		return "", err
	}
	_, err = e.provider.BuildImage(ctx, &tc.ContainerRequest{FromDockerfile: tc.FromDockerfile{
		ContextArchive: bytes.NewReader(content), Repo: imageName, Tag: tag, KeepImage: true,
	}})
	if err != nil {
		return "", fmt.Errorf("build the image %s: %w", name, err)
	}
	return name, e.removeOldImages(ctx, name)
}

// version is one version of a binary, as far as that can be told without
// reading it.
type version struct {
	path     string
	size     int64
	modified time.Time
}

func versionOf(binary string) (version, error) {
	info, err := os.Stat(binary)
	if err != nil {
		return version{}, err
	}
	return version{binary, info.Size(), info.ModTime()}, nil
}

// imageTags are the tags of the versions that were seen, by the node's and the
// helper's: a megabyte takes a while to hash, and a cluster may be started often.
var imageTags sync.Map

// imageTag is a hash of the image's content.
func imageTag(o Options) (string, error) {
	var seen [2]version
	var err error
	if seen[0], err = versionOf(o.Binary); err != nil {
		return "", err
	}
	if o.Helper != "" { // otherwise there is one version of it
		if seen[1], err = versionOf(o.Helper); err != nil {
			return "", err
		}
	}
	if tag, ok := imageTags.Load(seen); ok {
		return tag.(string), nil
	}
	content, err := imageContent(o)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	tag := hex.EncodeToString(sum[:6])
	imageTags.Store(seen, tag)
	return tag, nil
}

// imageContent is the build's context; the same files make the same bytes.
func imageContent(o Options) ([]byte, error) {
	node, err := os.ReadFile(o.Binary)
	if err != nil {
		return nil, fmt.Errorf("the node's binary: %w", err)
	}
	helper, err := o.helper()
	if err != nil {
		return nil, fmt.Errorf("the helper that breaks networks: %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"Dockerfile", []byte(dockerfile)}, {filepath.Base(nodeFile), node}, {filepath.Base(helperFile), helper}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// oldAfter is for how long an image is left alone: whoever built it may be about
// to use it.
const oldAfter = 10 * time.Minute

// removeOldImages removes the images of ours but one. Those in use and new ones
// stay, and go when a later one is built.
func (e *engine) removeOldImages(ctx context.Context, keep string) error {
	images, err := e.api.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("reference", imageName)})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, i := range images.Items {
		if time.Since(time.Unix(i.Created, 0)) < oldAfter {
			continue
		}
		for _, tag := range i.RepoTags {
			if tag != keep {
				_, _ = e.api.ImageRemove(ctx, tag, client.ImageRemoveOptions{PruneChildren: true}) // refused while in use
			}
		}
	}
	return nil
}
