//! What a person writes, handfast.yaml and nginx.conf, turned into the model.
