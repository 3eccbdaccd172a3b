"""One node of Kubernetes for tests, of real components, without Docker: see ../README.md.

    place         the cluster's folder, its name and addresses, the processes that it has recorded
    sandbox       what holds them all: a network namespace, a view of the file system, a control group
    certificates  keys, certificates and kubeconfigs
    components    the command line and the configuration of each component
    images        container images without a registry
    lifecycle     up, down, stop, start: the order of things
"""
