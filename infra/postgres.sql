-- Beside the database of Feast's registry, which the image makes by itself.
CREATE DATABASE prefect;
