"""Fitted models that outlive their run: kept by content hash, verified, loaded.

``artefacts/<sha256>/`` in the hub folder holds

``artefact.json``     the manifest, of which the folder's name is the SHA-256
``code/``             the model's folder, with the ``load`` that reads what its ``save`` wrote
``models/<fold>-<seed>/``  what ``save`` wrote, one folder per fitted model
"""
